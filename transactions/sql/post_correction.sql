-- Post the differences between what returned shares are worth and what they cost, and move the cost of the broker's
-- positions with them, so that selling the shares makes no other difference than that of the order.
WITH returned AS MATERIALIZED (
    SELECT * FROM unnest(%(tickers)s::text[], %(differences)s::numeric[]) AS requested (ticker, difference)
    WHERE difference <> 0
),
booked AS (
    INSERT INTO ledger_transfers
        (user_id, date, kind, debit_account, credit_account, amount, ticker, shares, reference, created_at)
    SELECT 0, date_trunc('day', %(now)s::timestamptz, 'UTC'), 'correction',
           CASE WHEN difference > 0 THEN '12100' ELSE '67050' END,
           CASE WHEN difference > 0 THEN '67050' ELSE '12100' END, abs(difference), ticker, 0, %(reference)s, %(now)s
    FROM returned
)
INSERT INTO broker_positions (ticker, shares, cost_basis, updated_at)
SELECT ticker, 0, difference, %(now)s FROM returned ORDER BY ticker
ON CONFLICT (ticker) DO UPDATE SET
    cost_basis = broker_positions.cost_basis + excluded.cost_basis, updated_at = excluded.updated_at
