-- A customer paid no more than was ever booked, and got no more back than was collected.
SELECT 'customer', user_id, account, format('$%%s', balance), 'not negative'
FROM (
    SELECT user_id, sum(CASE WHEN starts_with(kind, 'undo_') THEN 0 WHEN debit_account = '11100' THEN amount
                             WHEN credit_account = '11100' THEN -amount ELSE 0 END) AS receivable,
           sum(CASE '10100' WHEN debit_account THEN amount WHEN credit_account THEN -amount ELSE 0 END) AS bank
    FROM ledger_transfers WHERE user_id > 0 GROUP BY user_id
) AS customers
CROSS JOIN LATERAL (
    VALUES ('account 11100 without reversals', receivable), ('account 10100', bank)
) AS side (account, balance)
WHERE balance < 0
