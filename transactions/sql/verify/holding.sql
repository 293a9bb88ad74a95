-- The position of each customer and ticker, and the house's (user 0), is the sum of the ledger.
WITH owned AS (
    SELECT user_id, ticker, sum(direction * shares) AS shares, sum(direction * amount) AS cost
    FROM (
        SELECT user_id, ticker, shares, amount,
               {include position_direction} AS direction
        FROM ledger_transfers WHERE shares IS NOT NULL
    ) AS with_shares
    GROUP BY user_id, ticker
)
SELECT 'holding', coalesce(owned.user_id, holdings.user_id), coalesce(owned.ticker, holdings.ticker),
       format('%%s shares, $%%s', holdings.shares, holdings.cost_basis),
       format('%%s shares, $%%s', owned.shares, owned.cost)
FROM (
    SELECT user_id, ticker, shares, cost_basis FROM holdings
    UNION ALL
    SELECT 0, ticker, shares, cost_basis FROM broker_positions
) AS holdings
FULL JOIN owned ON owned.user_id = holdings.user_id AND owned.ticker = holdings.ticker
WHERE (coalesce(owned.shares, 0), coalesce(owned.cost, 0))
      IS DISTINCT FROM (coalesce(holdings.shares, 0), coalesce(holdings.cost_basis, 0))
