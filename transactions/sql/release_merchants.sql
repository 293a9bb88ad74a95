-- Transactions of locked user buckets that wait for these merchants become pending again.
UPDATE transactions SET status = 'pending', priority = 3, updated_at = %(now)s
FROM (
    SELECT id, user_id, date FROM transactions
    WHERE status = 'needs_review' AND merchant_key = ANY (%(merchant_keys)s::text[])
      AND mod(user_id, 64) = ANY (%(buckets)s::int[])
    LIMIT %(most)s
) AS waiting
WHERE transactions.id = waiting.id AND transactions.user_id = waiting.user_id AND transactions.date = waiting.date
  AND transactions.status = 'needs_review'
