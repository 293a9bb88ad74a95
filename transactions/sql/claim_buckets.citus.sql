-- The setting lets every shard apply the inner LIMIT: one lookup in the index for each bucket and shard, however much waits.
-- The locks are taken in a statement without shards, so on the coordinator.
DROP TABLE IF EXISTS claimable;
SET LOCAL citus.subquery_pushdown = on;
CREATE TEMP TABLE claimable ON COMMIT DROP AS
SELECT buckets.bucket, count(*) AS shards, min(first.priority) AS priority
FROM unnest(%(buckets)s::int[]) AS buckets (bucket)
CROSS JOIN LATERAL (
    SELECT priority FROM transactions
    WHERE mod(user_id, 64) = buckets.bucket AND status = 'pending'
    ORDER BY priority, id LIMIT 1
) AS first
GROUP BY buckets.bucket LIMIT cardinality(%(buckets)s::int[]);
SET LOCAL citus.subquery_pushdown = off;
SELECT bucket, shards FROM (SELECT * FROM claimable ORDER BY priority, random() OFFSET 0) AS waiting
WHERE pg_try_advisory_xact_lock(%(lock)s, bucket)
LIMIT %(limit)s
