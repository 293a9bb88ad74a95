-- Unlink the other sides of refunds and purchases that are gone; a refund among them waits for another purchase.
WITH unlinked AS (
    UPDATE transactions SET related_id = NULL, updated_at = %(now)s
    FROM transaction_keys AS keys
    WHERE keys.user_id = %(user)s AND keys.transaction_id = ANY (%(ids)s)
      AND transactions.id = keys.transaction_id AND transactions.user_id = keys.user_id AND transactions.date = keys.date
      AND transactions.related_id = ANY (%(gone)s)
    RETURNING transactions.id, transactions.user_id, transactions.date, transactions.merchant_key, transactions.amount,
              transactions.status, transactions.ticker
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, status, ticker, 0, 0, 0, 0, 0, count(*) FROM unlinked GROUP BY 1, 2, 3
)
INSERT INTO unmatched_refunds (transaction_id, user_id, date, merchant_key, amount)
SELECT id, user_id, date, merchant_key, amount FROM unlinked WHERE status = 'refunded'
ON CONFLICT DO NOTHING
