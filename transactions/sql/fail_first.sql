-- Fail the first pending row of a locked bucket, which cannot be booked. No money moves.
WITH first AS (
    SELECT id, user_id, date, amount, ticker, round_up, fee, investable FROM transactions
    WHERE mod(user_id, 64) = %(bucket)s AND status = 'pending'
    ORDER BY priority, id LIMIT 1
),
failed AS (
    UPDATE transactions SET status = 'failed', failure_reason = %(reason)s, updated_at = %(now)s
    FROM first
    WHERE transactions.id = first.id AND transactions.user_id = first.user_id AND transactions.date = first.date
      AND transactions.status = 'pending'
    RETURNING transactions.id, transactions.user_id, transactions.date, transactions.amount, transactions.ticker,
              transactions.round_up, transactions.fee, transactions.investable
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, 'pending', ticker, -1, -amount, -round_up, -fee, -investable, 0 FROM failed
    UNION ALL
    SELECT (date AT TIME ZONE 'UTC')::date, 'failed', ticker, 1, amount, round_up, fee, investable, 1 FROM failed
),
notified AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT user_id, 'A purchase could not be invested', 'We are looking into it. Nothing was debited for it.',
        'warning', false,
           %(now)s
    FROM failed
)
SELECT id, user_id FROM failed
