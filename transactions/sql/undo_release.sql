-- Undo the effect of a decision in locked user buckets: bookings get contra entries, and the transactions become
-- pending, to be looked up in the current directory.
WITH reversed AS MATERIALIZED (
    SELECT id, user_id, date, ticker, merchant, shares, booking, status = 'completed' AND investable > 0 AS booked,
           status, amount, round_up, fee, investable
    FROM transactions
    WHERE merchant_key = %(merchant_key)s AND decision_id = %(decision)s
      AND status IN ('completed', 'mapped', 'awaiting_price', 'not_listed')
      AND mod(user_id, 64) = ANY (%(buckets)s::int[])
    LIMIT %(limit)s
),
{include reverse_bookings}
cancelled AS (
    UPDATE orders SET status = 'cancelled' FROM reversed
    WHERE orders.user_id = reversed.user_id AND orders.transaction_id = reversed.id
      AND orders.status IN ('queued', 'executed')
),
notified AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT user_id, 'Your purchase of ' || ticker || ' was reversed',
           merchant || ' was matched to the wrong company. Your round-up is set aside until the match is corrected.',
           'info', false, %(now)s
    FROM reversed WHERE booked
),
moved AS (
    UPDATE transactions SET status = 'pending', priority = 3, booking = transactions.booking + reversed.booked::int,
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
SELECT count(*), count(*) FILTER (WHERE booked), coalesce(array_agg(DISTINCT user_id), '{}') FROM moved
