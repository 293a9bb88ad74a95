-- Customers and decisions are read from rollups of their own; what a transaction and a customer cost.

DROP VIEW analytics_users;
CREATE VIEW analytics_users AS
SELECT month, account_type, users AS active_users, transactions
FROM customer_counts
WHERE users > 0;

DROP VIEW analytics_review;
CREATE VIEW analytics_review AS
SELECT day AS date, automatic, action, decisions, reversed, released, overturned, waited, median_seconds, slow_seconds
FROM decision_days;

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('infrastructure_monthly_cost', '0', 'decimal', 'Dollars a month for servers, databases and network; the cost of a transaction and of a user contains it.', now())
ON CONFLICT DO NOTHING;

-- A month in dollars: models and infrastructure, for each completed transaction and for each active user. The month that
-- runs bears the part of the infrastructure that it has run for. Without an amount in the setting there is no cost.
CREATE VIEW analytics_cost AS
SELECT costs.*, round(llm_cost + infrastructure_cost, 2) AS cost,
       round((llm_cost + infrastructure_cost) / nullif(transactions, 0), 6) AS cost_per_transaction,
       round((llm_cost + infrastructure_cost) / nullif(active_users, 0), 4) AS cost_per_user,
       0.001 AS target_per_transaction, 0.10 AS target_per_user
FROM (
    SELECT month, coalesce(completed.transactions, 0) AS transactions, coalesce(active.users, 0) AS active_users,
           coalesce(llm.cost, 0) AS llm_cost,
           round(infrastructure.a_month * least(1, greatest(0,
               extract(epoch FROM now() - (month AT TIME ZONE 'UTC'))
               / extract(epoch FROM ((month + interval '1 month') AT TIME ZONE 'UTC') - (month AT TIME ZONE 'UTC'))
           )), 2) AS infrastructure_cost
    FROM (
        SELECT date_trunc('month', day)::date AS month, sum(rows)::bigint AS transactions
        FROM transaction_days WHERE status = 'completed' GROUP BY 1
    ) AS completed
    FULL JOIN (SELECT month, sum(users)::bigint AS users FROM customer_counts GROUP BY 1) AS active USING (month)
    FULL JOIN (
        SELECT date_trunc('month', started_at AT TIME ZONE 'UTC')::date AS month, sum(cost) AS cost FROM llm_calls GROUP BY 1
    ) AS llm USING (month)
    CROSS JOIN (
        SELECT max(CASE WHEN value ~ '^\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$' THEN value::numeric END) AS a_month
        FROM admin_settings WHERE key = 'infrastructure_monthly_cost'
    ) AS infrastructure
) AS costs;

-- reverse
DROP VIEW analytics_cost;
DELETE FROM admin_settings WHERE key = 'infrastructure_monthly_cost';
DROP VIEW analytics_review;
CREATE VIEW analytics_review AS
SELECT (decision.decided_at AT TIME ZONE 'UTC')::date AS date, decision.automatic, decision.action,
       count(*) AS decisions, count(undone.id) AS reversed, sum(decision.released_count)::bigint AS released
FROM mapping_decisions AS decision
LEFT JOIN mapping_decisions AS undone ON undone.undoes_id = decision.id
GROUP BY 1, 2, 3;
DROP VIEW analytics_users;
CREATE VIEW analytics_users AS
SELECT month, users.account_type, count(*) AS active_users, sum(customer_months.rows)::bigint AS transactions
FROM customer_months
JOIN users ON users.id = customer_months.user_id
WHERE customer_months.rows > 0
GROUP BY month, users.account_type;
