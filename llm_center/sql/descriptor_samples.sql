-- For each merchant key: up to four raw descriptors, and the number of customers, among its first waiting transactions.
SELECT requested.key, sample.descriptors, sample.customers
FROM unnest(%(keys)s::text[]) AS requested (key)
CROSS JOIN LATERAL (
    SELECT (array_agg(DISTINCT merchant))[1:4] AS descriptors, count(DISTINCT user_id) AS customers
    FROM (
        SELECT merchant, user_id FROM transactions
        WHERE status = 'needs_review' AND merchant_key = requested.key ORDER BY id LIMIT %(limit)s
    ) AS waiting
) AS sample
