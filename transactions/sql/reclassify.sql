-- Give transactions another class: excluded ones and possible duplicates become pending purchases, or open ones are
-- excluded. With an owner, only their possible duplicates. A separate purchase has no counterpart, but may be refunded.
WITH changed AS (
    UPDATE transactions
    SET status = CASE %(row_class)s WHEN '' THEN 'pending' ELSE 'excluded' END,
        related_id = CASE %(row_class)s WHEN '' THEN NULL ELSE transactions.related_id END,
        row_class = %(row_class)s, failure_reason = '', priority = 3, ticker = NULL, decision_id = NULL,
        round_up = 0, fee = 0, investable = 0, total_debit = transactions.amount, updated_at = %(now)s
    FROM (
        SELECT id, user_id, date, status, amount, round_up, fee, investable FROM transactions
        WHERE id = ANY (%(ids)s) AND date = ANY (%(dates)s)
          AND (%(owner)s::bigint IS NULL
               OR user_id = %(owner)s AND status = 'on_hold' AND failure_reason = %(duplicate)s)
          AND CASE %(row_class)s WHEN '' THEN status = 'excluded' OR status = 'on_hold' AND failure_reason = %(duplicate)s
                   ELSE status IN ('pending', 'not_listed', 'on_hold', 'awaiting_price', 'excluded') END
          AND row_class || status <> %(row_class)s || 'excluded'
    ) AS before
    WHERE transactions.id = before.id AND transactions.user_id = before.user_id AND transactions.date = before.date
      AND transactions.status = before.status  -- rows also become pending without a lock on the bucket
    RETURNING transactions.user_id, transactions.date, transactions.amount, transactions.status,
              before.status AS before_status, before.round_up, before.fee, before.investable
),
counted AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, sum(side.n), sum(side.n * amount),
           sum(side.old * round_up), sum(side.old * fee), sum(side.old * investable), sum(greatest(side.n, 0))
    FROM changed CROSS JOIN LATERAL (VALUES (-1, -1, before_status), (1, 0, changed.status)) AS side (n, old, status)
    GROUP BY 1, 2
)
SELECT count(*), coalesce(array_agg(DISTINCT user_id), '{}') FROM changed
