-- Collect what customers came to owe by the postings after `first` up to `last`, one row a customer; return what they
-- overpaid. Returns (customers, collected, returned), or no row when there is nothing to collect.
WITH owed AS MATERIALIZED (
    SELECT user_id, sum(CASE debit_account WHEN '11100' THEN amount ELSE -amount END) AS amount
    FROM ledger_transfers
    WHERE id > %(first)s AND id <= %(last)s AND user_id > 0 AND '11100' IN (debit_account, credit_account)
      AND kind NOT IN ('collection', 'returned')
    GROUP BY user_id
),
booked AS (
    INSERT INTO ledger_transfers (user_id, date, kind, debit_account, credit_account, amount, reference, created_at)
    SELECT user_id, date_trunc('day', %(now)s::timestamptz, 'UTC'),
           CASE WHEN amount > 0 THEN 'collection' ELSE 'returned' END,
           CASE WHEN amount > 0 THEN '10100' ELSE '11100' END, CASE WHEN amount > 0 THEN '11100' ELSE '10100' END,
           abs(amount), 'collection ' || (%(now)s::timestamptz AT TIME ZONE 'UTC')::date, %(now)s
    FROM owed WHERE amount <> 0
    RETURNING user_id, kind, amount
),
settled AS (
    INSERT INTO receivables (user_id, part, amount, month_amount)
    SELECT user_id, 'collected', CASE kind WHEN 'collection' THEN -amount ELSE amount END, 0 FROM booked
    ON CONFLICT (user_id, part) DO UPDATE SET amount = receivables.amount + excluded.amount
)
INSERT INTO collections (day, collected_to, customers, amount, returned, collected_at)
SELECT (%(now)s::timestamptz AT TIME ZONE 'UTC')::date, %(last)s, count(*),
       coalesce(sum(amount) FILTER (WHERE kind = 'collection'), 0),
       coalesce(sum(amount) FILTER (WHERE kind = 'returned'), 0), %(now)s
FROM booked HAVING count(*) > 0
RETURNING customers, amount, returned
