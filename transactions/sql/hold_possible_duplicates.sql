-- Put pending rows of a user on hold, each with the row that it probably repeats.
WITH held AS (
    UPDATE transactions SET status = 'on_hold', failure_reason = %(reason)s, related_id = pair.other_id
    FROM unnest(%(ids)s::bigint[], %(other_ids)s::bigint[]) AS pair (id, other_id)
    WHERE transactions.user_id = %(user)s AND transactions.date >= %(first)s AND transactions.date <= %(last)s
      AND transactions.id = pair.id AND transactions.status = 'pending'
    RETURNING transactions.date, transactions.amount
),
counted AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, sum(side.n), sum(side.n * amount), 0, 0, 0,
           sum(greatest(side.n, 0))
    FROM held CROSS JOIN (VALUES (-1, 'pending'), (1, 'on_hold')) AS side (n, status)
    GROUP BY 1, 2
)
SELECT count(*) FROM held
