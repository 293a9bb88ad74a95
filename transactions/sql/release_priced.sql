-- Make transactions pending that waited for a price that exists now, or whose merchant has a different ticker now.
WITH released AS (
    UPDATE transactions SET status = 'pending', decision_id = NULL, priority = CASE priority WHEN 4 THEN 4 ELSE 3 END,
        updated_at = %(now)s
    FROM (
        SELECT transactions.id, transactions.user_id, transactions.date FROM transactions
        LEFT JOIN merchants ON merchants.merchant_key = transactions.merchant_key
        WHERE transactions.status = 'awaiting_price'
          AND (merchants.ticker IS DISTINCT FROM transactions.ticker OR merchants.status <> 'approved'
               OR transactions.ticker = ANY (%(priced)s::text[]))
        LIMIT %(limit)s
    ) AS waiting
    WHERE transactions.id = waiting.id AND transactions.user_id = waiting.user_id AND transactions.date = waiting.date
      AND transactions.status = 'awaiting_price'
    RETURNING transactions.id, transactions.user_id, transactions.date, transactions.ticker, transactions.amount,
              transactions.round_up, transactions.fee, transactions.investable
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, ticker, sum(side.n), sum(side.n * amount),
           sum(side.n * round_up), sum(side.n * fee), sum(side.n * investable), sum(greatest(side.n, 0))
    FROM released CROSS JOIN (VALUES (-1, 'awaiting_price'), (1, 'pending')) AS side (n, status)
    GROUP BY 1, 2, 3
)
SELECT count(*), coalesce(array_agg(DISTINCT user_id), '{}') FROM released
