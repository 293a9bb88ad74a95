-- Until now a reversal did not name its transfer. Reversals of the same month, account and amount are paired in their order.
INSERT INTO amortization_reversals (entry_id, transfer_id, reversed_by_id, reversed_at)
SELECT entry.id, contra.id, entry.reversed_by_id, entry.reversed_at
FROM (
    SELECT *, row_number() OVER (PARTITION BY period, credit_account, amount ORDER BY reversed_at, id) AS number
    FROM amortization_entries WHERE reversed_at IS NOT NULL
) AS entry
LEFT JOIN (
    SELECT id, (date AT TIME ZONE 'UTC')::date AS period, debit_account, amount,
           row_number() OVER (PARTITION BY date, debit_account, amount ORDER BY id) AS number
    FROM ledger_transfers WHERE user_id = 0 AND kind = 'amort_reversal'
) AS contra
  ON (contra.period, contra.debit_account, contra.amount, contra.number)
   = (entry.period, entry.credit_account, entry.amount, entry.number);

UPDATE amortization_entries AS entry SET replaces_id = earlier.id
FROM (
    SELECT id AS entry_id, lag(id) OVER (PARTITION BY asset_id, period ORDER BY id) AS id FROM amortization_entries
) AS earlier
WHERE earlier.entry_id = entry.id AND earlier.id IS NOT NULL;

-- reverse
UPDATE amortization_entries SET reversed_at = reversal.reversed_at, reversed_by_id = reversal.reversed_by_id
FROM amortization_reversals AS reversal WHERE reversal.entry_id = amortization_entries.id;
