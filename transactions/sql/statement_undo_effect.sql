-- What undoing an import would do: rows deleted and reversed, the dollars of the purchases deleted, and what was invested
-- and charged; and the companies of which fewer shares are left than the import bought.
WITH stored AS MATERIALIZED (
    SELECT ticker, shares, investable AS cost, amount, fee, investable,
           status = 'excluded' AS is_excluded,
           status = 'completed' AND investable > 0 AS booked,
           booking > 0 OR (status = 'completed' AND investable > 0) AS kept
    FROM transactions
    WHERE user_id = %(user)s AND date >= %(first)s AND date <= %(last)s AND statement_id = %(statement)s
      AND status <> 'undone'
)
SELECT count(*) FILTER (WHERE NOT kept), count(*) FILTER (WHERE kept),
       coalesce(sum(amount) FILTER (WHERE NOT kept AND amount > 0 AND NOT is_excluded), 0.00),
       coalesce(sum(investable) FILTER (WHERE booked), 0.00), coalesce(sum(fee) FILTER (WHERE booked), 0.00),
       ARRAY(
           SELECT bought.ticker FROM (
               SELECT ticker, sum(shares) AS shares, sum(cost) AS cost FROM stored WHERE booked AND shares > 0
               GROUP BY ticker
           ) AS bought
           LEFT JOIN holdings ON holdings.user_id = %(user)s AND holdings.ticker = bought.ticker
           WHERE bought.shares > coalesce(holdings.shares, 0) OR bought.cost > coalesce(holdings.cost_basis, 0)
           ORDER BY bought.ticker
       )
FROM stored
