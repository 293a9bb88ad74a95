-- List totals of a month, with their waiting deltas, that differ from its transactions; all in one snapshot.
WITH counted AS (
    SELECT day, status, ticker, sum(rows) AS rows, sum(amount) AS amount, sum(round_up) AS round_up, sum(fee) AS fee,
           sum(investable) AS investable
    FROM (
        SELECT day, status, ticker, rows, amount, round_up, fee, investable FROM transaction_days
        WHERE day >= %(low)s AND day < %(high)s
        UNION ALL
        SELECT day, status, coalesce(ticker, ''), rows, amount, round_up, fee, investable FROM transaction_deltas
        WHERE day >= %(low)s AND day < %(high)s
    ) AS parts
    GROUP BY 1, 2, 3
    HAVING sum(rows) <> 0
),
actual AS (
    SELECT (date AT TIME ZONE 'UTC')::date AS day, status, coalesce(ticker, '') AS ticker, count(*) AS rows,
           sum(amount) AS amount, sum(round_up) AS round_up, sum(fee) AS fee, sum(investable) AS investable
    FROM transactions WHERE date >= %(from)s AND date < %(to)s
    GROUP BY 1, 2, 3
),
customers_counted AS (
    SELECT user_id, sum(rows) AS rows
    FROM (
        SELECT user_id, rows FROM customer_months WHERE month = %(low)s
        UNION ALL
        SELECT user_id, rows FROM transaction_deltas WHERE day >= %(low)s AND day < %(high)s AND user_id IS NOT NULL
    ) AS parts
    GROUP BY 1
    HAVING sum(rows) <> 0
),
customers_actual AS (
    SELECT user_id, count(*) AS rows FROM transactions WHERE date >= %(from)s AND date < %(to)s GROUP BY 1
)
SELECT concat_ws(' ', 'transactions of', day, status, nullif(ticker, '')),
       CASE WHEN counted.rows IS NULL THEN 'nothing' ELSE format('%%s rows, $%%s, round-up $%%s, fee $%%s, invested $%%s',
           counted.rows, counted.amount, counted.round_up, counted.fee, counted.investable) END,
       CASE WHEN actual.rows IS NULL THEN 'nothing' ELSE format('%%s rows, $%%s, round-up $%%s, fee $%%s, invested $%%s',
           actual.rows, actual.amount, actual.round_up, actual.fee, actual.investable) END
FROM counted FULL JOIN actual USING (day, status, ticker)
WHERE (counted.rows, counted.amount, counted.round_up, counted.fee, counted.investable)
      IS DISTINCT FROM (actual.rows, actual.amount, actual.round_up, actual.fee, actual.investable)
UNION ALL
SELECT format('customer %%s in %%s', user_id, to_char(%(low)s::date, 'YYYY-MM')),
       concat(coalesce(customers_counted.rows, 0), ' rows'), concat(coalesce(customers_actual.rows, 0), ' rows')
FROM customers_counted FULL JOIN customers_actual USING (user_id)
WHERE customers_counted.rows IS DISTINCT FROM customers_actual.rows
ORDER BY 1
