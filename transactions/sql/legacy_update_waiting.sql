-- Merchants that only transactions name, and the totals that the review queue shows.
WITH waiting AS (
    SELECT merchant_key, min(merchant) AS name, min(category) AS category, count(*) AS count, sum(round_up) AS amount
    FROM transactions WHERE status = 'needs_review' AND merchant_key <> '' GROUP BY merchant_key
)
INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason, alternatives,
                       rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
SELECT merchant_key, name, NULL, '', category, 'proposed', 'ingest', '', '[]', '[]', count, amount, now(), now()
FROM waiting ORDER BY merchant_key
ON CONFLICT (merchant_key) DO UPDATE SET
    waiting_count = excluded.waiting_count, waiting_amount = excluded.waiting_amount
