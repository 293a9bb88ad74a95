-- The lines of each journal entry and of each reversal are in the ledger, unless they are detached, and the ledger has no others.
SELECT 'journal', 0, reference || ' account ' || account, coalesce(format('$%%s', posted.amount), 'no transfer'),
       coalesce(format('$%%s', entered.amount), 'no entry')
FROM (
    SELECT 'JE-' || step.id AS reference, step.kind, line ->> 'account_code' AS account,
           sum(step.sign * ((line ->> 'debit')::numeric - (line ->> 'credit')::numeric)) AS amount, min(step.day) AS day
    FROM (
        SELECT id, 'journal_entry' AS kind, 1 AS sign, entry_date AS day FROM journal_entries
        UNION ALL
        SELECT entry_id, 'journal_reverse', -1, (reversed_at AT TIME ZONE 'UTC')::date FROM journal_reversals
    ) AS step
    JOIN journal_entries AS entries USING (id)
    CROSS JOIN jsonb_array_elements(entries.lines) AS line
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
  AND (posted.amount IS NOT NULL OR entered.day >= %(attached)s)
