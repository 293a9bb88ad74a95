-- Link unmatched refunds to their purchases, for up to %(limit)s customers of a locked bucket whose refunds have to be
-- checked: same bank account, merchant and amount, on the same or an earlier day, at most %(days)s days before; one to
-- one, and the latest purchase first. Within an account, a merchant and an amount this is a stack: a purchase is put on
-- it, a refund takes the top. `level` is the place that a row fills or empties. Returns how many are linked.
WITH customers AS MATERIALIZED (
    SELECT DISTINCT user_id FROM unmatched_refunds
    WHERE NOT is_checked AND mod(user_id, 64) = %(bucket)s ORDER BY user_id LIMIT %(limit)s
),
refunds AS MATERIALIZED (
    SELECT own.id, own.user_id, own.date, (own.date AT TIME ZONE 'UTC')::date AS day, own.merchant_key,
           -own.amount AS amount, coalesce(own.bank_account_id, 0) AS account
    FROM unmatched_refunds
    JOIN transactions AS own
      ON own.id = unmatched_refunds.transaction_id AND own.user_id = unmatched_refunds.user_id
     AND own.date = unmatched_refunds.date
    WHERE unmatched_refunds.user_id IN (SELECT user_id FROM customers)
),
purchases AS (
    SELECT bought.id, bought.user_id, bought.date, (bought.date AT TIME ZONE 'UTC')::date AS day, bought.merchant_key,
           bought.amount, coalesce(bought.bank_account_id, 0) AS account
    FROM (
        SELECT user_id, min(day) - %(days)s AS first, max(day) + 1 AS ends FROM refunds GROUP BY user_id
    ) AS period
    JOIN transactions AS bought
      ON bought.user_id = period.user_id AND bought.date >= period.first::timestamp AT TIME ZONE 'UTC'
     AND bought.date < period.ends::timestamp AT TIME ZONE 'UTC'
    WHERE bought.amount > 0 AND bought.related_id IS NULL AND bought.status NOT IN ('excluded', 'undone')
      AND EXISTS (
          SELECT FROM refunds
          WHERE refunds.user_id = bought.user_id AND refunds.merchant_key = bought.merchant_key
            AND refunds.amount = bought.amount AND refunds.account = coalesce(bought.bank_account_id, 0)
      )
),
rows AS (
    SELECT *, 1 AS step FROM purchases UNION ALL SELECT *, -1 FROM refunds
),
summed AS (
    SELECT *, sum(step) OVER stack AS total FROM rows
    WINDOW stack AS (PARTITION BY user_id, account, merchant_key, amount ORDER BY day, step DESC, id)
),
floored AS (
    SELECT *, least(0, min(total) OVER stack) AS floor FROM summed
    WINDOW stack AS (PARTITION BY user_id, account, merchant_key, amount ORDER BY day, step DESC, id)
),
-- A refund that finds the stack empty lowers the floor and takes nothing.
levelled AS (
    SELECT *, total - floor + (step = -1)::int AS level,
           step = -1 AND floor < coalesce(lag(floor) OVER stack, 0) AS is_unmatched
    FROM floored
    WINDOW stack AS (PARTITION BY user_id, account, merchant_key, amount ORDER BY day, step DESC, id)
),
pairs AS MATERIALIZED (
    SELECT user_id, id AS refund, date AS refund_date, purchase, purchase_date
    FROM (
        SELECT *, lag(id) OVER place AS purchase, lag(date) OVER place AS purchase_date, lag(day) OVER place AS bought_on
        FROM levelled WHERE NOT is_unmatched
        WINDOW place AS (PARTITION BY user_id, account, merchant_key, amount, level ORDER BY day, step DESC, id)
    ) AS places
    WHERE step = -1 AND bought_on >= day - %(days)s
),
linked AS (
    UPDATE transactions SET related_id = sides.other, updated_at = %(now)s
    FROM pairs
    CROSS JOIN LATERAL (VALUES (refund, refund_date, purchase), (purchase, purchase_date, refund))
        AS sides (id, date, other)
    WHERE transactions.id = sides.id AND transactions.user_id = pairs.user_id AND transactions.date = sides.date
    RETURNING transactions.date, transactions.status, transactions.ticker
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, status, ticker, 0, 0, 0, 0, 0, count(*) FROM linked GROUP BY 1, 2, 3
),
removed AS (
    DELETE FROM unmatched_refunds USING pairs
    WHERE unmatched_refunds.transaction_id = pairs.refund AND unmatched_refunds.user_id = pairs.user_id
),
checked AS (
    UPDATE unmatched_refunds SET is_checked = true
    WHERE user_id IN (SELECT user_id FROM customers) AND NOT is_checked
      AND transaction_id NOT IN (SELECT refund FROM pairs)
)
SELECT (SELECT count(*) FROM pairs), (SELECT count(*) FROM customers),
       (SELECT coalesce(array_agg(DISTINCT user_id), '{}') FROM pairs)
