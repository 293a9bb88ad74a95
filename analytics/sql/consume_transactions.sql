-- Move a batch of deltas of transactions into the totals of their days and customers. Returns their number, the writes by
-- month, the months whose customers changed, and the totals that became empty.
WITH consumed AS (
    DELETE FROM transaction_deltas
    WHERE id = ANY (ARRAY(SELECT id FROM transaction_deltas ORDER BY id LIMIT %(limit)s))
    RETURNING *
),
days AS (
    INSERT INTO transaction_days AS known (day, status, ticker, rows, amount, round_up, fee, investable)
    SELECT day, status, coalesce(ticker, '') AS ticker, sum(rows), sum(amount), sum(round_up), sum(fee), sum(investable)
    FROM consumed GROUP BY 1, 2, 3
    ON CONFLICT (day, status, ticker) DO UPDATE SET
        rows = known.rows + excluded.rows, amount = known.amount + excluded.amount,
        round_up = known.round_up + excluded.round_up, fee = known.fee + excluded.fee,
        investable = known.investable + excluded.investable
    RETURNING id, rows
),
customers AS (
    INSERT INTO customer_months AS known (month, user_id, rows)
    SELECT date_trunc('month', day)::date AS month, user_id, sum(rows) FROM consumed WHERE user_id IS NOT NULL GROUP BY 1, 2
    ON CONFLICT (month, user_id) DO UPDATE SET rows = known.rows + excluded.rows
    RETURNING id, month, rows
)
SELECT (SELECT count(*) FROM consumed),
       (SELECT coalesce(json_object_agg(month, writes), '{}')::text FROM (
           SELECT date_trunc('month', day)::date AS month, sum(writes) AS writes FROM consumed GROUP BY 1
       ) AS months),
       ARRAY(SELECT DISTINCT month FROM customers),
       ARRAY(SELECT id FROM days WHERE rows = 0),
       ARRAY(SELECT id FROM customers WHERE rows = 0)
