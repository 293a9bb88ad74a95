-- Recount the totals of a month from its transactions. The rows in this statement's snapshot include exactly the deltas in
-- it: those are deleted, later ones stay. Returns their writes, and how many totals changed.
WITH deleted_deltas AS (
    DELETE FROM transaction_deltas WHERE day >= %(low)s AND day < %(high)s RETURNING writes
),
actual_days AS MATERIALIZED (
    SELECT (date AT TIME ZONE 'UTC')::date AS day, status, coalesce(ticker, '') AS ticker, count(*) AS rows,
           sum(amount) AS amount, sum(round_up) AS round_up, sum(fee) AS fee, sum(investable) AS investable
    FROM transactions WHERE date >= %(from)s AND date < %(to)s
    GROUP BY 1, 2, 3
),
actual_customers AS MATERIALIZED (
    SELECT user_id, count(*) AS rows FROM transactions WHERE date >= %(from)s AND date < %(to)s GROUP BY 1
),
deleted_days AS (
    DELETE FROM transaction_days AS known
    WHERE day >= %(low)s AND day < %(high)s AND NOT EXISTS (
        SELECT FROM actual_days AS actual
        WHERE actual.day = known.day AND actual.status = known.status AND actual.ticker = known.ticker
    )
    RETURNING 1
),
days AS (
    INSERT INTO transaction_days AS known (day, status, ticker, rows, amount, round_up, fee, investable)
    SELECT * FROM actual_days
    ON CONFLICT (day, status, ticker) DO UPDATE SET
        rows = excluded.rows, amount = excluded.amount, round_up = excluded.round_up, fee = excluded.fee,
        investable = excluded.investable
    WHERE (known.rows, known.amount, known.round_up, known.fee, known.investable)
          IS DISTINCT FROM (excluded.rows, excluded.amount, excluded.round_up, excluded.fee, excluded.investable)
    RETURNING 1
),
deleted_customers AS (
    DELETE FROM customer_months AS known
    WHERE month = %(low)s AND NOT EXISTS (SELECT FROM actual_customers AS actual WHERE actual.user_id = known.user_id)
    RETURNING 1
),
customers AS (
    INSERT INTO customer_months AS known (month, user_id, rows)
    SELECT %(low)s, user_id, rows FROM actual_customers
    ON CONFLICT (month, user_id) DO UPDATE SET rows = excluded.rows WHERE known.rows IS DISTINCT FROM excluded.rows
    RETURNING 1
)
SELECT (SELECT coalesce(sum(writes), 0) FROM deleted_deltas),
       (SELECT count(*) FROM deleted_days) + (SELECT count(*) FROM days)
       + (SELECT count(*) FROM deleted_customers) + (SELECT count(*) FROM customers)
