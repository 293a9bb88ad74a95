-- Merchants whose first waiting purchases all came from one customer, and none of them from a bank.
SELECT keys.merchant_key
FROM unnest(%(keys)s::text[]) AS keys (merchant_key)
CROSS JOIN LATERAL (
    SELECT count(DISTINCT user_id) AS customers, bool_or(source <> 'api') AS from_bank
    FROM (
        SELECT user_id, source FROM transactions
        WHERE merchant_key = keys.merchant_key AND status = 'needs_review' LIMIT 50
    ) AS first_rows
) AS waiting
WHERE waiting.customers = 1 AND NOT waiting.from_bank
