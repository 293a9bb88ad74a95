-- Up to the last collection, what was collected from a customer is what the customer owed. When months are detached, after
-- the first collection since, which may have collected postings of theirs. And `receivables` is the sum of the ledger, as
-- long as all of it is attached.
WITH start AS (
    SELECT coalesce(max(collected_to), 0) AS collected_to, coalesce(max(collected_at), '-infinity') AS collected_at
    FROM (
        SELECT collected_to, collected_at FROM collections
        WHERE collected_at >= %(attached)s AND %(attached)s > '-infinity' ORDER BY id LIMIT 1
    ) AS first_since
)
SELECT 'customer', user_id, compared.subject, format('$%%s', compared.found), format('$%%s', compared.expected)
FROM (
    SELECT user_id, coalesce(sum(signed), 0) AS balance,
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
) AS ledger
FULL JOIN (
    SELECT user_id, sum(amount) AS amount FROM receivables WHERE %(attached)s = '-infinity' GROUP BY user_id
) AS stored USING (user_id)
CROSS JOIN LATERAL (VALUES
    ('collected from account 11100', -collected, owed),
    ('receivable', stored.amount, CASE WHEN %(attached)s = '-infinity' THEN balance END)
) AS compared (subject, found, expected)
WHERE coalesce(compared.found, 0) <> coalesce(compared.expected, 0)
