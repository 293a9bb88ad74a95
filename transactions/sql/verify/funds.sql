-- The money of a customer that is not invested: none, as every round-up buys shares at once.
SELECT 'funds', user_id, 'account 20100', format('$%%s', balance), format('$%%s', 0.00)
FROM (
    SELECT user_id, sum(CASE '20100' WHEN credit_account THEN amount ELSE -amount END) AS balance
    FROM ledger_transfers
    WHERE created_at >= %(since)s AND user_id > 0 AND '20100' IN (debit_account, credit_account) GROUP BY user_id
) AS funds
WHERE balance <> 0
