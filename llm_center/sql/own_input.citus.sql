-- Every shard counts its first purchases; run it in `limits_per_shard`.
SELECT keys.merchant_key
FROM unnest(%(keys)s::text[]) AS keys (merchant_key)
CROSS JOIN LATERAL (
    SELECT user_id, source FROM transactions
    WHERE merchant_key = keys.merchant_key AND status = 'needs_review' LIMIT 50
) AS first_rows
GROUP BY keys.merchant_key HAVING count(DISTINCT user_id) = 1 AND NOT bool_or(source <> 'api')
LIMIT cardinality(%(keys)s::text[])
