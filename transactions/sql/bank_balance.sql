-- The balance of the bank: the days counted in ledger_days, and the rows since. The caller has locked the mark
-- (ledger_marks), so nothing is counted meanwhile. The id is a parameter, because an index serves only a known one.
SELECT coalesce(sum(CASE debit_account WHEN '10100' THEN amount ELSE -amount END), 0)
FROM (
    SELECT debit_account, credit_account, amount FROM ledger_days
    UNION ALL
    SELECT debit_account, credit_account, amount FROM ledger_transfers WHERE id > %(counted_to)s
) AS postings
WHERE '10100' IN (debit_account, credit_account)
