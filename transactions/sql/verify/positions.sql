-- All positions together, weighted by customer and ticker, are those of the last seal and of the rows since.
WITH held AS (
    SELECT coalesce(sum(shares * weight), 0) AS shares, coalesce(sum(cost_basis * weight), 0) AS cost
    FROM (
        SELECT shares, cost_basis, {include position_weight} AS weight
        FROM (
            SELECT user_id, ticker, shares, cost_basis FROM holdings
            UNION ALL
            SELECT 0, ticker, shares, cost_basis FROM broker_positions
        ) AS positions
    ) AS weighted
),
booked AS (
    SELECT coalesce(sum(shares * weight), 0) + %(holdings)s AS shares, coalesce(sum(amount * weight), 0) + %(cost)s AS cost
    FROM (
        SELECT shares, amount, {include position_weight}
               * {include position_direction} AS weight
        FROM ledger_transfers WHERE created_at >= %(since)s AND shares IS NOT NULL
    ) AS weighted
)
SELECT 'positions', 0, 'all holdings and broker positions', 'not the last seal and the ledger since',
       'the same; --all names the rows'
FROM held, booked
WHERE (held.shares, held.cost) IS DISTINCT FROM (booked.shares, booked.cost)
