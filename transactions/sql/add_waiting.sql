-- Add purchases that wait for merchants: a list of {merchant_key, merchant, category, rows, amount}.
-- Ordered by key, so that two workers that park rows for the same merchants do not deadlock.
INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason,
                       rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
SELECT merchant_key, merchant, NULL, '', category, 'proposed', 'ingest', '', '[]', rows, amount, %(now)s, %(now)s
FROM json_to_recordset(%(waiting)s::json) AS waiting (
    merchant_key text, merchant text, category text, rows bigint, amount numeric
)
ORDER BY merchant_key
ON CONFLICT (merchant_key) DO UPDATE SET
    waiting_count = merchants.waiting_count + excluded.waiting_count,
    waiting_amount = merchants.waiting_amount + excluded.waiting_amount
