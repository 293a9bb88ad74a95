-- Insert the staged batch into transaction_keys and transactions. The key is the row's fingerprint and its occurrence
-- in the file: the same file adds nothing, an overlapping file adds the new rows, and equal purchases stay separate.
WITH counted AS (
    INSERT INTO statement_fingerprints AS stored (statement_id, fingerprint, seen)
    SELECT %(statement)s, fingerprint, count(*) FROM staged GROUP BY fingerprint
    ON CONFLICT (statement_id, fingerprint) DO UPDATE SET seen = stored.seen + excluded.seen
    RETURNING fingerprint, seen
),
numbered AS MATERIALIZED (
    SELECT staged.*, nextval((SELECT pg_get_serial_sequence('transactions', 'id')::regclass)) AS id, -- evaluated once
           staged.fingerprint || '.' || (counted.seen - count(*) OVER same
               + row_number() OVER (same ORDER BY staged.line)) AS idempotency_key
    FROM staged JOIN counted ON counted.fingerprint = staged.fingerprint
    WINDOW same AS (PARTITION BY staged.fingerprint)
),
fresh AS (
    INSERT INTO transaction_keys (user_id, idempotency_key, transaction_id, date)
    SELECT %(user)s, idempotency_key, id, date FROM numbered
    ON CONFLICT (user_id, idempotency_key) DO NOTHING
    RETURNING transaction_id
),
added AS (
    INSERT INTO transactions (id, user_id, date, merchant, merchant_key, amount, total_debit, category, description,
                              status, row_class, source, statement_id, priority, created_at, updated_at)
    SELECT id, %(user)s, date, merchant, merchant_key, amount, amount, category, description,
           CASE row_class WHEN '' THEN 'pending' ELSE 'excluded' END, row_class, 'statement', %(statement)s, 9,
           %(now)s, %(now)s
    FROM numbered JOIN fresh ON fresh.transaction_id = numbered.id
    RETURNING date, amount, status
),
counted_days AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, user_id, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, status, count(*), sum(amount), 0, 0, 0, %(user)s, count(*)
    FROM added GROUP BY 1, 2
)
SELECT count(*), min(date), max(date) FROM added
