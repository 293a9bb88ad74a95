-- What the dashboards, reports and metrics read: all of it over the rollups, whose size follows days, not rows.

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

-- Revenue is the fee of what was invested.
CREATE VIEW analytics_revenue AS
SELECT day AS date, sum(rows)::bigint AS transactions, sum(fee) AS fees, sum(investable) AS invested
FROM transaction_days
WHERE status = 'completed'
GROUP BY day
HAVING sum(rows) > 0;

CREATE VIEW analytics_users AS
SELECT month, users.account_type, count(*) AS active_users, sum(customer_months.rows)::bigint AS transactions
FROM customer_months
JOIN users ON users.id = customer_months.user_id
WHERE customer_months.rows > 0
GROUP BY month, users.account_type;

-- Quality: what was decided, and what was taken back later.
CREATE VIEW analytics_review AS
SELECT (decision.decided_at AT TIME ZONE 'UTC')::date AS date, decision.automatic, decision.action,
       count(*) AS decisions, count(undone.id) AS reversed, sum(decision.released_count)::bigint AS released
FROM mapping_decisions AS decision
LEFT JOIN mapping_decisions AS undone ON undone.undoes_id = decision.id
GROUP BY 1, 2, 3;

CREATE VIEW analytics_llm_cost AS
SELECT (started_at AT TIME ZONE 'UTC')::date AS date, count(*) AS calls, sum(merchants)::bigint AS merchants,
       sum(cost) AS cost
FROM llm_calls
GROUP BY 1;

CREATE INDEX idx_mapping_decisions_decided_at ON mapping_decisions (((decided_at AT TIME ZONE 'UTC')::date));
CREATE INDEX idx_llm_calls_day ON llm_calls (((started_at AT TIME ZONE 'UTC')::date));

-- reverse
DROP INDEX idx_llm_calls_day;
DROP INDEX idx_mapping_decisions_decided_at;
DROP VIEW analytics_llm_cost;
DROP VIEW analytics_review;
DROP VIEW analytics_users;
DROP VIEW analytics_revenue;
DROP VIEW analytics_tickers;
DROP VIEW analytics_volume;
DROP MATERIALIZED VIEW llm_analytics_summary;
