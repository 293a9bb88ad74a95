-- Lock up to %(limit)s free user buckets with pending rows until commit, the most urgent first. Returns each with the number
-- of places that its rows are in. LIMIT stops the scan at the last lock, so other workers can claim the remaining buckets.
SELECT bucket, 1 FROM (
    SELECT buckets.bucket
    FROM unnest(%(buckets)s::int[]) AS buckets (bucket)
    CROSS JOIN LATERAL (
        SELECT priority FROM transactions
        WHERE mod(user_id, 64) = buckets.bucket AND status = 'pending'
        ORDER BY priority, id LIMIT 1
    ) AS first
    ORDER BY first.priority, random()
    OFFSET 0
) AS waiting
WHERE pg_try_advisory_xact_lock(%(lock)s, bucket)
LIMIT %(limit)s
