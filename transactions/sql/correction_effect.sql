-- What the correction of a merchant would do at the newest quotes: a row for each obstacle and previous ticker and, with
-- is_total, one for each obstacle.
WITH found AS MATERIALIZED (
{include correction_rows}
),
grouped AS (
    SELECT obstacle, ticker, grouping(ticker) = 1 AS is_total, count(*) AS purchases, count(DISTINCT user_id) AS customers,
           sum(due) AS round_ups,
           count(*) FILTER (WHERE booked) AS booked,
           coalesce(sum(shares) FILTER (WHERE booked), 0) AS shares,
           coalesce(sum(investable) FILTER (WHERE booked), 0) AS cost,
           coalesce(sum(fee) FILTER (WHERE booked), 0) AS fees,
           coalesce(sum(kamioi_shares(due, %(price)s)) FILTER (WHERE invests AND due > 0), 0) AS bought,
           count(*) FILTER (WHERE NOT invests) AS held,
           (array_agg(id ORDER BY id) FILTER (WHERE obstacle IS NOT NULL))[1:%(examples)s] AS ids
    FROM found GROUP BY GROUPING SETS ((obstacle, ticker), (obstacle))
)
SELECT obstacle, ticker, is_total, purchases, customers, round_ups, bought, held, ids, quote.price, quote.as_of, booked,
       shares, cost, fees
FROM grouped
LEFT JOIN LATERAL (
    SELECT price, as_of FROM stock_prices
    WHERE stock_prices.ticker = grouped.ticker AND as_of <= %(now)s ORDER BY as_of DESC LIMIT 1
) AS quote ON true
ORDER BY obstacle NULLS FIRST, ticker NULLS FIRST
