-- Move a batch of deltas of the mapping log into the totals of their days. Returns the same as consume_transactions.sql.
WITH consumed AS (
    DELETE FROM mapping_deltas
    WHERE id = ANY (ARRAY(SELECT id FROM mapping_deltas ORDER BY id LIMIT %(limit)s))
    RETURNING *
),
days AS (
    INSERT INTO mapping_days AS known (day, status, source, automatic, rows, confidence)
    SELECT day, status, source, automatic, sum(rows), sum(confidence) FROM consumed GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, status, source, automatic) DO UPDATE SET
        rows = known.rows + excluded.rows, confidence = known.confidence + excluded.confidence
    RETURNING id, rows
)
SELECT (SELECT count(*) FROM consumed),
       (SELECT coalesce(json_object_agg(month, writes), '{}')::text FROM (
           SELECT date_trunc('month', day)::date AS month, sum(writes) AS writes FROM consumed GROUP BY 1
       ) AS months),
       '{}'::date[],
       ARRAY(SELECT id FROM days WHERE rows = 0),
       '{}'::bigint[]
