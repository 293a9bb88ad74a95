-- Count the active customers of these months by the account type they have now.
WITH actual AS MATERIALIZED (
    SELECT customer_months.month, users.account_type, count(*) AS users, sum(customer_months.rows) AS transactions
    FROM customer_months JOIN users ON users.id = customer_months.user_id
    WHERE customer_months.month = ANY (%(months)s::date[]) AND customer_months.rows > 0
    GROUP BY 1, 2
),
deleted AS (
    DELETE FROM customer_counts AS known
    WHERE month = ANY (%(months)s::date[]) AND NOT EXISTS (
        SELECT FROM actual WHERE actual.month = known.month AND actual.account_type = known.account_type
    )
)
INSERT INTO customer_counts AS known (month, account_type, users, transactions)
SELECT * FROM actual
ON CONFLICT (month, account_type) DO UPDATE SET users = excluded.users, transactions = excluded.transactions
