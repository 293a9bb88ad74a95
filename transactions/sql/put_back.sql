-- The rows of `reversed` become pending, their orders are cancelled. What a booked one set aside and cost stays fixed.
cancelled AS (
    UPDATE orders SET status = 'cancelled' FROM reversed
    WHERE orders.user_id = reversed.user_id AND orders.transaction_id = reversed.id
      AND orders.status IN ('queued', 'executed')
),
moved AS (
    UPDATE transactions SET status = 'pending', priority = %(priority)s,
        booking = transactions.booking + reversed.booked::int,
        round_up_cents = coalesce(transactions.round_up_cents, CASE WHEN reversed.booked THEN reversed.round_up * 100 END),
        fee_cents = coalesce(transactions.fee_cents, CASE WHEN reversed.booked THEN reversed.fee * 100 END),
        ticker = NULL, decision_id = NULL, shares = NULL, price_per_share = NULL, round_up = 0, investable = 0, fee = 0,
        total_debit = transactions.amount, updated_at = %(now)s
    FROM reversed
    WHERE transactions.id = reversed.id AND transactions.user_id = reversed.user_id AND transactions.date = reversed.date
      AND transactions.status = reversed.status
    RETURNING reversed.*
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, side.ticker, sum(side.n), sum(side.n * amount),
           sum(side.n * side.round_up), sum(side.n * side.fee), sum(side.n * side.investable), sum(greatest(side.n, 0))
    FROM moved
    CROSS JOIN LATERAL (VALUES
        (-1, moved.status, moved.ticker, moved.round_up, moved.fee, moved.investable),
        (1, 'pending', NULL, 0, 0, 0)
    ) AS side (n, status, ticker, round_up, fee, investable)
    GROUP BY 1, 2, 3
)
