-- Transactions of locked user buckets that wait for these merchants become pending again; a decision remembers which.
WITH released AS (
    UPDATE transactions SET status = 'pending', priority = 3, updated_at = %(now)s
    FROM (
        SELECT id, user_id, date FROM transactions
        WHERE status = 'needs_review' AND merchant_key = ANY (%(merchant_keys)s::text[])
          AND mod(user_id, 64) = ANY (%(buckets)s::int[])
        LIMIT %(most)s
    ) AS waiting
    WHERE transactions.id = waiting.id AND transactions.user_id = waiting.user_id AND transactions.date = waiting.date
      AND transactions.status = 'needs_review'
    RETURNING transactions.id, transactions.user_id, transactions.date, transactions.merchant_key
),
remembered AS (
    INSERT INTO released_transactions (decision_id, user_id, transaction_id, date)
    SELECT decided.id, released.user_id, released.id, released.date
    FROM released
    JOIN unnest(%(merchant_keys)s::text[], %(decisions)s::bigint[]) AS decided (merchant_key, id)
      ON decided.merchant_key = released.merchant_key
    WHERE decided.id IS NOT NULL
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM released
