-- Insert the staged batch into transaction_keys and transactions. The key is the row's fingerprint and its occurrence
-- in the file, within the account of the file: the same file adds nothing, an overlapping file adds the new rows, and
-- equal purchases stay separate. The second look at earlier rows is only for customers who have some.
WITH counted AS (
    INSERT INTO statement_fingerprints AS stored (statement_id, fingerprint, seen)
    SELECT %(statement)s, fingerprint, count(*) FROM staged GROUP BY fingerprint
    ON CONFLICT (statement_id, fingerprint) DO UPDATE SET seen = stored.seen + excluded.seen
    RETURNING fingerprint, seen
),
numbered AS MATERIALIZED (
    SELECT staged.*, nextval((SELECT pg_get_serial_sequence('transactions', 'id')::regclass)) AS id, -- evaluated once
           staged.fingerprint || '.' || (counted.seen - count(*) OVER same
               + row_number() OVER (same ORDER BY staged.line)) AS plain_key,
           CASE WHEN account = 0 THEN %(suffix)s ELSE '' END AS suffix,
           CASE WHEN account = 0 THEN %(account)s ELSE (%(account_ids)s::bigint[])[account] END AS bank_account_id
    FROM staged JOIN counted ON counted.fingerprint = staged.fingerprint
    WINDOW same AS (PARTITION BY staged.fingerprint)
),
-- Rows that an earlier import has under another key, certainly or probably.
known AS MATERIALIZED (
    -- imported when keys still contained the bank's reference
    SELECT old.line, keys.transaction_id AS stored_id, true AS is_certain
    FROM (
        SELECT line, legacy || '.' || row_number() OVER (PARTITION BY legacy ORDER BY line) AS key
        FROM numbered WHERE legacy IS NOT NULL
    ) AS old
    JOIN transaction_keys AS keys ON keys.user_id = %(user)s AND keys.idempotency_key = old.key
    UNION ALL
    -- imported without an account: certainly the same if no import knew accounts then, otherwise probably
    SELECT numbered.line, stored.id, stored.statement_id IS NULL
    FROM numbered
    JOIN transaction_keys AS keys ON keys.user_id = %(user)s AND keys.idempotency_key = numbered.plain_key
    JOIN transactions AS stored
      ON stored.user_id = %(user)s AND stored.id = keys.transaction_id AND stored.date = keys.date
    WHERE %(has_history)s AND numbered.suffix <> ''
    UNION ALL
    -- the bank's id is known in the account for this day and amount: only the description has changed
    SELECT line, stored_id, true
    FROM (
        SELECT numbered.line, stored.id AS stored_id, count(*) OVER (PARTITION BY numbered.reference) AS matches
        FROM numbered
        JOIN transactions AS stored
          ON stored.user_id = %(user)s AND stored.bank_reference = numbered.reference
         AND stored.bank_account_id IS NOT DISTINCT FROM numbered.bank_account_id
         AND stored.amount = numbered.amount
         AND (stored.date AT TIME ZONE 'UTC')::date = (numbered.date AT TIME ZONE 'UTC')::date
        WHERE %(has_history)s AND numbered.reference IS NOT NULL AND stored.status <> 'undone'
          AND stored.statement_id <> %(statement)s
          AND stored.date >= (SELECT min(date) - interval '1 day' FROM numbered)
          AND stored.date < (SELECT max(date) + interval '1 day' FROM numbered)
    ) AS found
    WHERE matches = 1 -- an id of several rows is none
),
fresh AS (
    INSERT INTO transaction_keys (user_id, idempotency_key, transaction_id, date)
    SELECT %(user)s, plain_key || suffix, id, date FROM numbered
    WHERE NOT EXISTS (SELECT FROM known WHERE known.line = numbered.line AND known.is_certain)
    ON CONFLICT (user_id, idempotency_key) DO NOTHING
    RETURNING transaction_id
),
{include storing_rule}
added AS (
    INSERT INTO transactions (id, user_id, date, merchant, merchant_key, amount, total_debit, category, description,
                              status, row_class, source, statement_id, bank_account_id, bank_reference,
                              round_up_cents, fee_cents, priority, created_at, updated_at)
    SELECT id, %(user)s, date, merchant, merchant_key, amount, amount, category, description,
           CASE row_class WHEN '' THEN 'pending' ELSE 'excluded' END, row_class, 'statement', %(statement)s,
           bank_account_id, reference, round_up * 100, kamioi_fee(round_up, rule.fee, rule.max_share) * 100,
           9, %(now)s, %(now)s
    FROM numbered JOIN fresh ON fresh.transaction_id = numbered.id
    CROSS JOIN rule CROSS JOIN LATERAL (
        SELECT kamioi_round_up(amount, rule.round_up_enabled, rule.round_up_rule, rule.round_up_amount)
    ) AS fixed (round_up)
    RETURNING id, date, amount, status
),
counted_days AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, user_id, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, status, count(*), sum(amount), 0, 0, 0, %(user)s, count(*)
    FROM added GROUP BY 1, 2
)
SELECT count(*), min(date), max(date), min(id), max(id),
       -- earlier rows that rows of this batch are: no other row repeats them
       (SELECT array_agg(id) FROM (
            SELECT keys.transaction_id AS id
            FROM numbered JOIN transaction_keys AS keys
              ON keys.user_id = %(user)s AND keys.idempotency_key = numbered.plain_key || numbered.suffix
            WHERE %(has_history)s AND EXISTS (SELECT FROM added)
            UNION ALL SELECT stored_id FROM known
        ) AS taken),
       (SELECT jsonb_object_agg(numbered.id, known.stored_id)::text
        FROM known JOIN numbered ON numbered.line = known.line
        WHERE NOT known.is_certain AND numbered.row_class = '')
FROM added
