-- On Citus: user buckets with pending work, most urgent first, and how many rows wait in each. Nothing is locked.
-- Every shard reads its index of pending rows, so the cost grows with them.
SELECT mod(user_id, 64)::int AS bucket, count(*)
FROM transactions
WHERE mod(user_id, 64) = ANY (%(buckets)s::int[]) AND status = 'pending'
GROUP BY 1
ORDER BY min(priority), random()
