-- A month of rows in every large table; %(rows)s is their number.
INSERT INTO users (id, password, is_superuser, email, name, account_type, user_guid, city, state, zip_code, phone,
    round_up_enabled, round_up_rule, round_up_amount, is_staff, is_active, created_at, updated_at)
SELECT 1000000 + n, '!', false, 'person' || n || '@example.com', '', CASE WHEN n %% 7000 = 0 THEN 'business' ELSE 'individual' END,
    '', '', '', '', '', true, 'flat', 1, n %% 9000 = 0, n %% 8000 <> 0, now(), now() FROM generate_series(1, %(rows)s) AS n;
INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason, rejected_tickers,
    waiting_count, waiting_amount, created_at, updated_at)
SELECT 'M' || n, 'M', CASE WHEN n %% 7000 > 2 THEN 'T' || n %% 50 END, '', '',
    (ARRAY['rejected', 'proposed', 'not_listed', 'approved'])[least(n %% 7000, 3) + 1],
    CASE WHEN n %% 6000 = 1 THEN 'admin' WHEN n %% 5000 = 1 THEN 'llm' ELSE 'seed' END, '', '[]', 0, 0, now(), now()
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, status, ticker, shares, price_per_share,
    failure_reason)
SELECT 1000001 + n %% 400, now.month + CASE WHEN n %% 3 = 0 THEN n %% 28 * interval '1 day' ELSE n * interval '2 minutes' END,
    'SHOP', 'M' || n %% 40, 1, 1, kind.status, CASE WHEN kind.status = 'completed' THEN 'T' || n %% 50 END,
    CASE WHEN kind.status = 'completed' THEN 1 END, CASE WHEN kind.status = 'completed' THEN 1 END, 'x'
FROM generate_series(1, %(rows)s) AS n, (SELECT date_trunc('month', now(), 'UTC') AS month) AS now,
LATERAL (SELECT CASE WHEN n > %(rows)s * 0.9 THEN 'pending' WHEN n %% 9000 = 1 THEN 'failed' WHEN n %% 5000 = 1 THEN 'refunded'
    WHEN n %% 10 < 6 THEN 'completed' WHEN n %% 10 < 9 THEN 'not_listed' ELSE 'needs_review' END AS status) AS kind;
INSERT INTO ledger_transfers (user_id, date, transaction_id, kind, debit_account, credit_account, amount, ticker, shares)
SELECT user_id, date, id, kind.kind, kind.debit, kind.credit, 1, CASE kind.kind WHEN 'purchase' THEN ticker END,
    CASE kind.kind WHEN 'purchase' THEN 1 END
FROM transactions, (VALUES ('round_up', '11100', '20100'), ('fee', '11100', '40100'), ('purchase', '20100', '22100'))
    AS kind (kind, debit, credit)
WHERE status = 'completed' AND id %% 2 = 0;
INSERT INTO ledger_transfers (user_id, date, kind, debit_account, credit_account, amount)
SELECT 0, date_trunc('month', now(), 'UTC') + n * interval '3 days', kind.kind, kind.debit, kind.credit, 1
FROM generate_series(0, 5) AS n, (VALUES ('amortization', '67010', '15100'), ('broker_cash', '10200', '10100'))
    AS kind (kind, debit, credit);
INSERT INTO llm_mappings (merchant_name, merchant_key, status, admin_approved, source, created_at)
SELECT CASE WHEN n %% 4000 = 7 THEN 'RARE' ELSE 'SHOP ' || n %% 25 END, 'M',
    CASE WHEN n > %(rows)s * 0.9 THEN 'pending' WHEN n %% 6000 = 1 THEN 'rejected' ELSE 'approved' END,
    n <= %(rows)s * 0.9, 'llm', date_trunc('month', now(), 'UTC') + n / 20 * interval '40 minutes'
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO orders (user_id, transaction_id, transaction_date, ticker, amount, status, execute_after, created_at, shares, price,
    executed_at)
SELECT 1000001, n, now(), 'T1', 1, CASE WHEN n %% 7000 = 0 THEN 'cancelled' WHEN n %% 6500 = 0 THEN 'queued' ELSE 'executed' END, now(),
    now(), 1, 1, now() FROM generate_series(1, %(rows)s) AS n;
INSERT INTO audit_events (at, user_id, kind, action, target, request_id)
SELECT now(), 1000001, CASE WHEN n %% 7000 = 0 THEN 'download' WHEN n %% 6000 = 0 THEN 'log_in_failed' ELSE 'change' END, '', '', ''
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO background_tasks (id, name, arguments, status, progress, result, error, attempts, created_at)
SELECT gen_random_uuid(), 'ingest_statement', '{}', CASE WHEN n %% 7000 = 0 THEN 'failed' WHEN n %% 6000 = 0 THEN 'running'
    ELSE 'completed' END, 0, '{}', '', 0, now() - n * interval '1 minute' FROM generate_series(1, %(rows)s) AS n;
INSERT INTO reports (kind, period, user_id, format, task_id, file, size, sha256, rows, made_at)
SELECT CASE WHEN n > 20000 THEN 'finance' ELSE 'statement' END, '2026-10-01', CASE WHEN n <= 20000 THEN 1000000 + n END, 'pdf',
    (SELECT id FROM background_tasks LIMIT 1), '', 1, '', 1, now() FROM generate_series(1, %(rows)s + 1) AS n;
INSERT INTO stock_prices (ticker, price, as_of, source)
SELECT 'T' || n %% 10, 1, now() - n * interval '1 minute', '' FROM generate_series(1, %(rows)s) AS n;
INSERT INTO mapping_decisions (decided_at, merchant_key, action, before, after, automatic, released_count, reason)
SELECT now(), 'M' || n %% 200, 'approve', '{}', '{}', true, 0, '' FROM generate_series(1, %(rows)s) AS n;
