-- The lines of each journal entry are in the ledger, and the ledger has no others.
SELECT 'journal', 0, reference || ' account ' || account, coalesce(format('$%%s', posted.amount), 'no transfer'),
       coalesce(format('$%%s', entered.amount), 'no entry')
FROM (
    SELECT 'JE-' || entries.id AS reference, step.kind, line ->> 'account_code' AS account,
           sum(step.sign * ((line ->> 'debit')::numeric - (line ->> 'credit')::numeric)) AS amount
    FROM journal_entries AS entries
    CROSS JOIN jsonb_array_elements(entries.lines) AS line
    JOIN (VALUES ('journal_entry', 1), ('journal_reverse', -1)) AS step (kind, sign)
      ON entries.status = 'reversed' OR (entries.status = 'posted' AND step.sign = 1)
    GROUP BY 1, 2, 3
) AS entered
FULL JOIN (
    SELECT reference, kind, side.account, sum(side.amount) AS amount
    FROM ledger_transfers
    CROSS JOIN LATERAL (VALUES (debit_account, amount), (credit_account, -amount)) AS side (account, amount)
    WHERE kind IN ('journal_entry', 'journal_reverse')
    GROUP BY 1, 2, 3
) AS posted USING (reference, kind, account)
WHERE posted.amount IS DISTINCT FROM entered.amount
