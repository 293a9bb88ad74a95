-- Make up to %(limit)s purchases of a user that are on hold pending, or failed with a reason. A possible duplicate waits
-- for a person's decision; it can only be cancelled.
WITH settled AS (
    UPDATE transactions SET status = %(status)s, failure_reason = %(failure)s, priority = 3, updated_at = %(now)s
    FROM (
        SELECT id, user_id, date FROM transactions
        WHERE user_id = %(user)s AND status = 'on_hold'
          AND (%(status)s = 'failed' OR failure_reason <> %(duplicate)s)
        LIMIT %(limit)s
    ) AS held
    WHERE transactions.id = held.id AND transactions.user_id = held.user_id AND transactions.date = held.date
      AND transactions.status = 'on_hold'
    RETURNING transactions.user_id, transactions.date, transactions.amount
),
counted AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, sum(side.n), sum(side.n * amount), 0, 0, 0,
           sum(greatest(side.n, 0))
    FROM settled CROSS JOIN (VALUES (-1, 'on_hold'), (1, %(status)s)) AS side (n, status)
    GROUP BY 1, 2
)
SELECT count(*), coalesce(array_agg(DISTINCT user_id), '{}') FROM settled
