-- What waits for a merchant, counted from the transactions themselves.
UPDATE merchants SET waiting_count = waiting.count, waiting_amount = waiting.amount
FROM (
    SELECT count(*) AS count, coalesce(sum(round_up), 0) AS amount FROM transactions
    WHERE status = 'needs_review' AND merchant_key = %(merchant_key)s
) AS waiting
WHERE merchant_key = %(merchant_key)s
