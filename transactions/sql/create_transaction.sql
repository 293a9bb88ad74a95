-- Insert one purchase, its key and the change of its day's totals. Returns no row if the key exists.
WITH fresh AS (
    INSERT INTO transaction_keys (user_id, idempotency_key, transaction_id, date, fingerprint)
    VALUES (%(user)s, %(key)s, nextval(pg_get_serial_sequence('transactions', 'id')), %(date)s, %(fingerprint)s)
    ON CONFLICT (user_id, idempotency_key) DO NOTHING
    RETURNING transaction_id
),
counted AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, user_id, writes)
    SELECT (%(date)s AT TIME ZONE 'UTC')::date, 'pending', 1, %(amount)s, 0, 0, 0, %(user)s, 1 FROM fresh
)
INSERT INTO transactions (id, user_id, date, merchant, merchant_key, amount, total_debit, category, description,
                          status, source, priority, created_at, updated_at)
SELECT transaction_id, %(user)s, %(date)s, %(merchant)s, %(merchant_key)s, %(amount)s, %(amount)s, %(category)s,
       %(description)s, 'pending', %(source)s, 0, %(now)s, %(now)s
FROM fresh
RETURNING id
