-- Recount the waiting transactions of merchants whose rows this transaction has locked.
-- Separate from the update, because Citus writes `merchants` on every node and reads no shard in that statement.
WITH counted AS MATERIALIZED (
    SELECT merchant_key, count(*) AS rows, sum(round_up) AS amount
    FROM transactions
    WHERE merchant_key = ANY (%(merchant_keys)s::text[]) AND status = 'needs_review'
    GROUP BY merchant_key
)
UPDATE merchants SET waiting_count = coalesce(counts.rows, 0), waiting_amount = coalesce(counts.amount, 0)
FROM (
    SELECT keys.merchant_key, counted.rows, counted.amount
    FROM unnest(%(merchant_keys)s::text[]) AS keys (merchant_key)
    LEFT JOIN counted ON counted.merchant_key = keys.merchant_key
) AS counts
WHERE merchants.merchant_key = counts.merchant_key
