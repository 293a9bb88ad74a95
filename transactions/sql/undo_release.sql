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
{include put_back},
notified AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT user_id, 'Your purchase of ' || ticker || ' was reversed',
           merchant || ' was matched to the wrong company. Your round-up is set aside until the match is corrected.',
           'info', false, %(now)s
    FROM reversed WHERE booked
)
SELECT count(*), count(*) FILTER (WHERE booked), coalesce(array_agg(DISTINCT user_id), '{}') FROM moved
