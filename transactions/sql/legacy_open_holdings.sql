-- Legacy holdings (a JSON parameter) as opening balances in the ledger, and the sum of each company's rows as a holding.
WITH item AS (
    SELECT * FROM jsonb_to_recordset(($1::text)::jsonb) AS item (
        user_id bigint, date timestamptz, amount numeric, ticker text, shares numeric, reference text)
), transfers AS (
    INSERT INTO ledger_transfers (user_id, date, kind, debit_account, credit_account, amount, ticker, shares, reference)
    SELECT user_id, date, 'opening', '30900', '22100', amount, ticker, shares, reference FROM item
)
INSERT INTO holdings (user_id, ticker, shares, cost_basis, updated_at)
SELECT user_id, ticker, sum(shares), sum(amount), now() FROM item GROUP BY user_id, ticker
ON CONFLICT (user_id, ticker) DO UPDATE SET
    shares = holdings.shares + excluded.shares, cost_basis = holdings.cost_basis + excluded.cost_basis,
    updated_at = excluded.updated_at
