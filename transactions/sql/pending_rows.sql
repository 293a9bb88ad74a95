-- Part of `first_pending`: the most urgent rows of each bucket, on Citus of each bucket and shard.
SELECT pending.*
FROM unnest(%(buckets)s::int[]) AS buckets (bucket)
CROSS JOIN LATERAL (
    SELECT id, user_id, date, amount, merchant, merchant_key, booking, priority, ticker AS was_ticker,
           round_up AS was_round_up, fee AS was_fee, investable AS was_investable, round_up_cents, fee_cents
    FROM transactions
    WHERE mod(user_id, 64) = buckets.bucket AND status = 'pending'
    ORDER BY priority, id LIMIT %(per_place)s
) AS pending
