-- Count the active customers of these months by the account type they have now; a type without customers gets zero.
-- No DELETE beside the INSERT: Citus refuses both in one statement that reads the shared `users`.
WITH actual AS MATERIALIZED (
    SELECT month, account_type, sum(users) AS users, sum(transactions) AS transactions
    FROM (
        SELECT customer_months.month, users.account_type, 1 AS users, customer_months.rows AS transactions
        FROM customer_months JOIN users ON users.id = customer_months.user_id
        WHERE customer_months.month = ANY (%(months)s::date[]) AND customer_months.rows > 0
        UNION ALL
        SELECT month, account_type, 0, 0 FROM customer_counts WHERE month = ANY (%(months)s::date[])
    ) AS counts
    GROUP BY 1, 2
)
INSERT INTO customer_counts AS known (month, account_type, users, transactions)
SELECT * FROM actual
ON CONFLICT (month, account_type) DO UPDATE SET users = excluded.users, transactions = excluded.transactions
