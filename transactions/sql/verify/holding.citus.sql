-- Customers and the house apart, because the house's positions are on the coordinator: so each shard compares its own
-- customers, at one moment, and only disagreements leave it.
WITH owned AS (
    SELECT user_id, ticker, sum(direction * shares) AS shares, sum(direction * amount) AS cost
    FROM (
        SELECT user_id, ticker, shares, amount,
               {include position_direction} AS direction
        FROM ledger_transfers WHERE shares IS NOT NULL AND user_id > 0
    ) AS with_shares
    GROUP BY user_id, ticker
),
house AS (
    SELECT ticker, sum(direction * shares) AS shares, sum(direction * amount) AS cost
    FROM (
        SELECT user_id, ticker, shares, amount,
               {include position_direction} AS direction
        FROM ledger_transfers WHERE shares IS NOT NULL AND user_id = 0
    ) AS with_shares
    GROUP BY ticker
)
SELECT 'holding', user_id, ticker, format('%%s shares, $%%s', held_shares, held_cost),
       format('%%s shares, $%%s', owned_shares, owned_cost)
FROM (
    SELECT coalesce(owned.user_id, holdings.user_id) AS user_id, coalesce(owned.ticker, holdings.ticker) AS ticker,
           holdings.shares AS held_shares, holdings.cost_basis AS held_cost, owned.shares AS owned_shares, owned.cost AS owned_cost
    FROM holdings FULL JOIN owned ON owned.user_id = holdings.user_id AND owned.ticker = holdings.ticker
    WHERE (coalesce(owned.shares, 0), coalesce(owned.cost, 0))
          IS DISTINCT FROM (coalesce(holdings.shares, 0), coalesce(holdings.cost_basis, 0))
    UNION ALL
    SELECT 0, ticker, held.shares, held.cost_basis, house.shares, house.cost
    FROM broker_positions AS held FULL JOIN house USING (ticker)
    WHERE (coalesce(house.shares, 0), coalesce(house.cost, 0))
          IS DISTINCT FROM (coalesce(held.shares, 0), coalesce(held.cost_basis, 0))
) AS different
