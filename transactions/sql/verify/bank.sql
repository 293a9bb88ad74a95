-- The bank is not overdrawn. This is checked once a journal entry brought in its opening balance or the capital.
SELECT 'bank', 0, 'account 10100', format('$%%s', balance), 'not negative'
FROM (
    SELECT %(bank)s + coalesce(sum(CASE debit_account WHEN '10100' THEN amount ELSE -amount END), 0) AS balance
    FROM ledger_transfers WHERE created_at >= %(since)s AND '10100' IN (debit_account, credit_account)
) AS bank
WHERE balance < 0 AND (
    EXISTS (SELECT 1 FROM ledger_transfers WHERE kind IN ('journal_entry', 'journal') AND debit_account = '10100')
    OR (%(bank)s > 0 AND %(attached)s::timestamptz > '-infinity')  -- the entry may be detached
)
