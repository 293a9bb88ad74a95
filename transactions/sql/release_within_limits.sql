-- Make up to %(limit)s purchases pending that were held by a limit and fit now.
WITH candidates AS MATERIALIZED (
    SELECT id, user_id, date, (date AT TIME ZONE 'UTC')::date AS day, (round_up_cents + fee_cents) / 100.0 AS amount
    FROM transactions WHERE status = 'on_hold' AND failure_reason IN (%(over_day)s, %(over_month)s, %(over_owed)s)
),
{include check_limits}
released AS (
    UPDATE transactions SET status = 'pending', failure_reason = '', priority = 3, updated_at = %(now)s
    FROM (
        SELECT id, user_id, date FROM candidates WHERE id NOT IN (SELECT id FROM over_limit) LIMIT %(limit)s
    ) AS fitting
    WHERE transactions.id = fitting.id AND transactions.user_id = fitting.user_id AND transactions.date = fitting.date
      AND transactions.status = 'on_hold'
    RETURNING transactions.user_id, transactions.date, transactions.amount
),
counted AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, sum(side.n), sum(side.n * amount), 0, 0, 0,
           sum(greatest(side.n, 0))
    FROM released CROSS JOIN (VALUES (-1, 'on_hold'), (1, 'pending')) AS side (n, status)
    GROUP BY 1, 2
)
SELECT count(*), coalesce(array_agg(DISTINCT user_id), '{}') FROM released
