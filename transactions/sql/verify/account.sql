-- Postings use accounts of the chart.
SELECT 'account', transfers.user_id, 'transfer ' || transfers.id,
       transfers.debit_account || ' / ' || transfers.credit_account, 'accounts of the chart'
FROM ledger_transfers AS transfers
WHERE transfers.created_at >= %(since)s
  AND (NOT EXISTS (SELECT FROM ledger_accounts WHERE number = transfers.debit_account)
       OR NOT EXISTS (SELECT FROM ledger_accounts WHERE number = transfers.credit_account))
