-- Each charge and each reversal has its transfer, unless it is detached, and each transfer its charge or reversal.
SELECT 'amortization', 0,
       coalesce('asset ' || entry.asset_id || ' ' || to_char(entry.period, 'YYYY-MM'), 'transfer ' || transfers.id),
       coalesce(format('a transfer of $%%s, %%s', transfers.amount, transfers.account), 'no transfer'),
       coalesce(format('an entry of $%%s, %%s', entry.amount, entry.credit_account), 'an entry')
FROM (
    SELECT 'amortization' AS kind, asset_id, period, amount, credit_account, transfer_id
    FROM amortization_entries WHERE transfer_id IS NOT NULL
    UNION ALL
    SELECT 'amort_reversal', asset_id, period, amount, credit_account, reversal.transfer_id
    FROM amortization_reversals AS reversal JOIN amortization_entries AS reversed ON reversed.id = reversal.entry_id
) AS entry
FULL JOIN (
    SELECT id, kind, amount, CASE kind WHEN 'amortization' THEN credit_account ELSE debit_account END AS account
    FROM ledger_transfers WHERE kind IN ('amortization', 'amort_reversal')
) AS transfers ON transfers.id = entry.transfer_id AND transfers.kind = entry.kind
WHERE (transfers.amount, transfers.account) IS DISTINCT FROM (entry.amount, entry.credit_account)
  AND (transfers.id IS NOT NULL OR entry.period >= %(attached)s)
