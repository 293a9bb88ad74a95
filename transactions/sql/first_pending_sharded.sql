    -- The most urgent rows of all buckets together: Citus does not push LATERAL … LIMIT down to the shards.
    SELECT id, user_id, date, amount, merchant, merchant_key, booking, priority, ticker AS was_ticker,
           round_up AS was_round_up, fee AS was_fee, investable AS was_investable, round_up_cents, fee_cents
    FROM transactions
    WHERE mod(user_id, 64) = ANY (%(buckets)s::int[]) AND status = 'pending'
    ORDER BY priority, id LIMIT %(per_bucket)s * cardinality(%(buckets)s::int[])
