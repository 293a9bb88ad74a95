-- Views of dashboards, reports and metrics. They read rollups, whose size grows with days, not with rows.

CREATE MATERIALIZED VIEW llm_analytics_summary AS
SELECT day AS date, status, sum(rows)::bigint AS count, round(sum(confidence) / sum(rows), 4) AS avg_confidence
FROM mapping_days
GROUP BY day, status
HAVING sum(rows) > 0;

CREATE UNIQUE INDEX llm_analytics_summary_key ON llm_analytics_summary (date, status);

CREATE VIEW analytics_volume AS
SELECT day AS date, status, sum(rows)::bigint AS transactions, sum(amount) AS amount, sum(round_up) AS round_up,
       sum(fee) AS fee, sum(investable) AS investable
FROM transaction_days
GROUP BY day, status
HAVING sum(rows) > 0;

CREATE VIEW analytics_tickers AS
SELECT day AS date, ticker, sum(rows)::bigint AS transactions, sum(amount) AS amount, sum(investable) AS invested,
       sum(fee) AS fee
FROM transaction_days
WHERE status = 'completed' AND ticker <> ''
GROUP BY day, ticker
HAVING sum(rows) > 0;

-- Revenue is the fee of invested purchases.
CREATE VIEW analytics_revenue AS
SELECT day AS date, sum(rows)::bigint AS transactions, sum(fee) AS fees, sum(investable) AS invested
FROM transaction_days
WHERE status = 'completed'
GROUP BY day
HAVING sum(rows) > 0;

CREATE VIEW analytics_llm_cost AS
SELECT (started_at AT TIME ZONE 'UTC')::date AS date, count(*) AS calls, sum(merchants)::bigint AS merchants,
       sum(cost) AS cost
FROM llm_calls
GROUP BY 1;

CREATE VIEW analytics_users AS
SELECT month, account_type, users AS active_users, transactions
FROM customer_counts
WHERE users > 0;

CREATE VIEW analytics_review AS
SELECT day AS date, automatic, action, decisions, reversed, released, overturned, waited, median_seconds, slow_seconds
FROM decision_days;

CREATE INDEX idx_mapping_decisions_decided_at ON mapping_decisions (((decided_at AT TIME ZONE 'UTC')::date));
CREATE INDEX idx_llm_calls_day ON llm_calls (((started_at AT TIME ZONE 'UTC')::date));

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('infrastructure_monthly_cost', '0', 'decimal', 'Dollars a month for servers, databases and network; part of the cost of a transaction and of a user.', now())
ON CONFLICT DO NOTHING;

-- Cost of a month in dollars, per completed transaction and per active user: models and infrastructure. The current month
-- carries the elapsed share of the infrastructure. Without an amount in the setting there is no cost.
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
DROP INDEX idx_llm_calls_day;
DROP INDEX idx_mapping_decisions_decided_at;
DROP VIEW analytics_review;
DROP VIEW analytics_users;
DROP VIEW analytics_llm_cost;
DROP VIEW analytics_revenue;
DROP VIEW analytics_tickers;
DROP VIEW analytics_volume;
DROP MATERIALIZED VIEW llm_analytics_summary;
