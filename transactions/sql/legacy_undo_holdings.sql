-- Remove the opening balances of these legacy rows (ids), and their shares and cost from the holdings.
WITH removed AS (
    DELETE FROM ledger_transfers WHERE kind = 'opening'
        AND reference = ANY (SELECT 'portfolio ' || id FROM unnest(%(ids)s) AS ids (id))
    RETURNING user_id, ticker, shares, amount
)
UPDATE holdings SET shares = holdings.shares - total.shares, cost_basis = holdings.cost_basis - total.amount
FROM (SELECT user_id, ticker, sum(shares) AS shares, sum(amount) AS amount FROM removed GROUP BY 1, 2) AS total
WHERE holdings.user_id = total.user_id AND holdings.ticker = total.ticker
