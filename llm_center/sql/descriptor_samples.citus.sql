-- The first rows are chosen among those of all shards; run it in `limits_per_shard`.
WITH samples AS MATERIALIZED (
    SELECT requested.key, waiting.*
    FROM unnest(%(keys)s::text[]) AS requested (key)
    CROSS JOIN LATERAL (
        SELECT id, merchant, user_id FROM transactions
        WHERE status = 'needs_review' AND merchant_key = requested.key ORDER BY id LIMIT %(limit)s
    ) AS waiting
    LIMIT 1000000  -- Citus requires one
)
SELECT key, (array_agg(DISTINCT merchant))[1:4], count(DISTINCT user_id)
FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY id) AS place FROM samples) AS ranked
WHERE place <= %(limit)s GROUP BY key
