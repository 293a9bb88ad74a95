-- Undo up to %(limit)s rows of an import, oldest first from %(since)s on, in the user's locked bucket. A row that was ever
-- booked stays as undone, its booking reversed by contra entries and its key freed for another import of the file. Every
-- other row is deleted with its key. FOR UPDATE, because rows also become pending again without a lock on the bucket.
WITH reversed AS MATERIALIZED (
    SELECT id, user_id, date, amount, merchant_key, ticker, shares, booking, status, round_up, fee, investable, related_id,
           status = 'completed' AND investable > 0 AS booked,
           booking > 0 OR (status = 'completed' AND investable > 0) AS kept
    FROM transactions
    WHERE user_id = %(user)s AND date >= %(since)s AND date <= %(last)s AND statement_id = %(statement)s
      AND status <> 'undone'
    ORDER BY date
    LIMIT %(limit)s
    FOR UPDATE
),
{include reverse_bookings}
cancelled AS (
    UPDATE orders SET status = 'cancelled' FROM reversed
    WHERE reversed.kept AND orders.user_id = reversed.user_id AND orders.transaction_id = reversed.id
      AND orders.status IN ('queued', 'executed')
),
removed_orders AS (
    DELETE FROM orders USING reversed
    WHERE NOT reversed.kept AND orders.user_id = reversed.user_id AND orders.transaction_id = reversed.id
),
freed_keys AS (
    UPDATE transaction_keys AS keys SET idempotency_key = 'undone:' || keys.transaction_id::text FROM reversed
    WHERE reversed.kept AND keys.user_id = reversed.user_id AND keys.transaction_id = reversed.id
),
removed_keys AS (
    DELETE FROM transaction_keys AS keys USING reversed
    WHERE NOT reversed.kept AND keys.user_id = reversed.user_id AND keys.transaction_id = reversed.id
),
removed_refunds AS (
    DELETE FROM unmatched_refunds AS refunds USING reversed
    WHERE refunds.user_id = reversed.user_id AND refunds.transaction_id = reversed.id
),
undone AS (
    UPDATE transactions SET status = 'undone', ticker = NULL, decision_id = NULL, shares = NULL, price_per_share = NULL,
        round_up = 0, investable = 0, fee = 0, total_debit = transactions.amount, failure_reason = '', related_id = NULL,
        updated_at = %(now)s
    FROM reversed
    WHERE reversed.kept AND transactions.id = reversed.id AND transactions.user_id = reversed.user_id
      AND transactions.date = reversed.date
),
removed AS (
    DELETE FROM transactions USING reversed
    WHERE NOT reversed.kept AND transactions.id = reversed.id AND transactions.user_id = reversed.user_id
      AND transactions.date = reversed.date
),
-- counted: the user is named for deleted rows, which also leave the customer's months.
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, user_id, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, status, ticker, -count(*), -sum(amount), -sum(round_up), -sum(fee),
           -sum(investable), CASE WHEN kept THEN NULL ELSE user_id END, CASE WHEN kept THEN 0 ELSE count(*) END
    FROM reversed GROUP BY 1, 2, 3, kept, user_id
    UNION ALL
    SELECT (date AT TIME ZONE 'UTC')::date, 'undone', NULL, count(*), sum(amount), 0, 0, 0, NULL, count(*)
    FROM reversed WHERE kept GROUP BY 1
)
SELECT count(*) FILTER (WHERE NOT kept), count(*) FILTER (WHERE kept), max(date),
       (SELECT coalesce(json_agg(waiting), '[]')::text FROM (
           SELECT merchant_key, count(*) AS rows, sum(round_up) AS amount
           FROM reversed WHERE status = 'needs_review' GROUP BY merchant_key ORDER BY merchant_key
       ) AS waiting),
       coalesce(array_agg(related_id) FILTER (WHERE related_id IS NOT NULL), '{}'),
       coalesce(array_agg(id) FILTER (WHERE related_id IS NOT NULL), '{}')
FROM reversed
