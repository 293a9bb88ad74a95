-- Make transactions pending that wait for these merchants, in locked user buckets.
WITH released AS (
    UPDATE transactions SET status = 'pending', priority = 3, updated_at = %(now)s
    FROM (
        SELECT id, user_id, date FROM transactions
        WHERE status = 'needs_review' AND merchant_key = ANY (%(merchant_keys)s::text[])
          AND mod(user_id, 64) = ANY (%(buckets)s::int[])
        LIMIT %(limit)s
    ) AS waiting
    WHERE transactions.id = waiting.id AND transactions.user_id = waiting.user_id AND transactions.date = waiting.date
      AND transactions.status = 'needs_review'
    RETURNING transactions.user_id, transactions.date, transactions.ticker, transactions.amount,
              transactions.round_up, transactions.fee, transactions.investable
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, ticker, sum(side.n), sum(side.n * amount),
           sum(side.n * round_up), sum(side.n * fee), sum(side.n * investable), sum(greatest(side.n, 0))
    FROM released CROSS JOIN (VALUES (-1, 'needs_review'), (1, 'pending')) AS side (n, status)
    GROUP BY 1, 2, 3
)
SELECT count(*), coalesce(array_agg(DISTINCT user_id), '{}') FROM released
