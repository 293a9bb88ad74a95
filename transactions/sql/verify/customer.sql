-- Up to the last collection, what was collected from a customer is what the customer owed.
SELECT 'customer', user_id, 'account 11100', format('$%%s collected', -collected), format('$%%s owed', owed)
FROM (
    SELECT user_id, coalesce(sum(signed) FILTER (WHERE kind IN ('collection', 'returned')), 0) AS collected,
           coalesce(sum(signed) FILTER (WHERE kind NOT IN ('collection', 'returned')
                                        AND id <= (SELECT max(collected_to) FROM collections)), 0) AS owed
    FROM (
        SELECT id, user_id, kind, CASE debit_account WHEN '11100' THEN amount ELSE -amount END AS signed
        FROM ledger_transfers WHERE user_id > 0 AND '11100' IN (debit_account, credit_account)
    ) AS entries
    GROUP BY user_id
) AS receivables
WHERE collected + owed <> 0
