-- On Citus: user buckets with pending rows and their number, the most urgent first. Locks nothing.
-- Every shard reads its index of pending rows, so the cost grows with the backlog.
SELECT mod(user_id, 64)::int AS bucket, count(*)
FROM transactions
WHERE mod(user_id, 64) = ANY (%(buckets)s::int[]) AND status = 'pending'
GROUP BY 1
ORDER BY min(priority), random()
