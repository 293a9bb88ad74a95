-- Reverse a merchant's purchases in locked user buckets, unless it was decided again: bookings get contra
-- entries, and the transactions become pending, to be booked again. One notification a customer; the buckets hold all of
-- a customer's purchases. Returns by ticker: purchases, how many of them were booked, what is returned, customers.
WITH reversed AS MATERIALIZED (
    SELECT * FROM (
{include correction_rows}
    ) AS found
    WHERE obstacle IS NULL AND mod(user_id, 64) = ANY (%(buckets)s::int[])
      AND EXISTS (SELECT FROM merchants WHERE merchant_key = %(merchant_key)s AND decision_id = %(decision)s)
),
{include reverse_bookings}
{include put_back},
notified AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT user_id, 'Purchases corrected', CASE
               WHEN tickers IS NULL THEN %(merchant)s || ' belongs to ' || %(ticker)s || '. The round-ups of ' || purchases
                   || ' are invested now.'
               ELSE 'We matched ' || purchases || ' at ' || %(merchant)s || ' to the wrong company (' || tickers || '). '
                   || coalesce(
                       'The round-ups are invested in ' || %(ticker)s || ' now.',
                       'The right one is not listed: the round-ups are not invested, and what was collected is returned.'
                   )
           END, 'info', false, %(now)s
    FROM (
        SELECT user_id, string_agg(DISTINCT ticker, ', ') AS tickers,
               count(*) || CASE count(*) WHEN 1 THEN ' purchase' ELSE ' purchases' END AS purchases
        FROM moved WHERE due > 0 GROUP BY user_id
    ) AS affected
)
SELECT ticker, count(*), count(*) FILTER (WHERE booked), coalesce(sum(shares) FILTER (WHERE booked), 0),
       coalesce(sum(investable) FILTER (WHERE booked), 0), coalesce(sum(fee) FILTER (WHERE booked), 0),
       array_agg(DISTINCT user_id)
FROM moved GROUP BY ticker ORDER BY ticker
