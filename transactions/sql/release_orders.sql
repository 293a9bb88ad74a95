-- Make transactions pending whose order is due; the order stays queued until it is booked.
WITH released AS (
    UPDATE transactions SET status = 'pending', decision_id = NULL, priority = CASE priority WHEN 4 THEN 4 ELSE 3 END,
        updated_at = %(now)s
    FROM (
        SELECT orders.user_id, orders.transaction_id, orders.transaction_date
        FROM orders
        JOIN transactions AS mapped ON mapped.id = orders.transaction_id AND mapped.user_id = orders.user_id
            AND mapped.date = orders.transaction_date AND mapped.status = 'mapped'
        WHERE orders.status = 'queued' AND orders.execute_after <= %(now)s
        LIMIT %(limit)s
    ) AS due
    WHERE transactions.id = due.transaction_id AND transactions.user_id = due.user_id
      AND transactions.date = due.transaction_date AND transactions.status = 'mapped'
    RETURNING transactions.id, transactions.user_id, transactions.date, transactions.ticker, transactions.amount,
              transactions.round_up, transactions.fee, transactions.investable
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, ticker, sum(side.n), sum(side.n * amount),
           sum(side.n * round_up), sum(side.n * fee), sum(side.n * investable), sum(greatest(side.n, 0))
    FROM released CROSS JOIN (VALUES (-1, 'mapped'), (1, 'pending')) AS side (n, status)
    GROUP BY 1, 2, 3
)
SELECT count(*), coalesce(array_agg(DISTINCT user_id), '{}') FROM released
