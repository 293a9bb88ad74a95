-- Every ticker of which the broker's position differs from what customers own: (ticker, shares to buy, negative to sell,
-- cost to add, newest quote that is recent enough).
SELECT differing.*, newest.price
FROM (
    SELECT ticker, coalesce(owned.shares, 0) - coalesce(held.shares, 0) AS shares,
           coalesce(owned.cost_basis, 0) - coalesce(held.cost_basis, 0) AS cost
    FROM (SELECT ticker, sum(shares) AS shares, sum(cost_basis) AS cost_basis FROM holdings GROUP BY ticker) AS owned
    FULL JOIN broker_positions AS held USING (ticker)
) AS differing
LEFT JOIN LATERAL (
    SELECT price FROM (
        SELECT price, as_of FROM stock_prices
        WHERE stock_prices.ticker = differing.ticker AND as_of <= %(now)s ORDER BY as_of DESC LIMIT 1
    ) AS quote
    WHERE as_of >= %(oldest_price)s
) AS newest ON true
WHERE shares <> 0 OR cost <> 0
ORDER BY ticker
