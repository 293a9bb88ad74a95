-- Up to the last collection, what was collected from a customer is what the customer owed. When months are detached, after
-- the first collection since, which may have collected postings of theirs.
WITH start AS (
    SELECT coalesce(max(collected_to), 0) AS collected_to, coalesce(max(collected_at), '-infinity') AS collected_at
    FROM (
        SELECT collected_to, collected_at FROM collections
        WHERE collected_at >= %(attached)s AND %(attached)s > '-infinity' ORDER BY id LIMIT 1
    ) AS first_since
)
SELECT 'customer', user_id, 'account 11100', format('$%%s collected', -collected), format('$%%s owed', owed)
FROM (
    SELECT user_id,
           coalesce(sum(signed) FILTER (WHERE kind IN ('collection', 'returned')
                                        AND created_at > (SELECT collected_at FROM start)), 0) AS collected,
           coalesce(sum(signed) FILTER (WHERE kind NOT IN ('collection', 'returned')
                                        AND id > (SELECT collected_to FROM start)
                                        AND id <= (SELECT max(collected_to) FROM collections)), 0) AS owed
    FROM (
        SELECT id, user_id, kind, created_at, CASE debit_account WHEN '11100' THEN amount ELSE -amount END AS signed
        FROM ledger_transfers WHERE user_id > 0 AND '11100' IN (debit_account, credit_account)
    ) AS entries
    GROUP BY user_id
) AS receivables
WHERE collected + owed <> 0
