-- Each charge has its transfer, and each transfer its charge.
SELECT 'amortization', 0,
       coalesce('asset ' || entry.asset_id || ' ' || to_char(entry.period, 'YYYY-MM'), 'transfer ' || transfers.id),
       coalesce(format('a transfer of $%%s to %%s', transfers.amount, transfers.credit_account), 'no transfer'),
       coalesce(format('an entry of $%%s to %%s', entry.amount, entry.credit_account), 'an entry')
FROM (SELECT * FROM amortization_entries WHERE transfer_id IS NOT NULL) AS entry
FULL JOIN (SELECT * FROM ledger_transfers WHERE kind = 'amortization') AS transfers ON transfers.id = entry.transfer_id
WHERE (transfers.amount, transfers.credit_account) IS DISTINCT FROM (entry.amount, entry.credit_account)
