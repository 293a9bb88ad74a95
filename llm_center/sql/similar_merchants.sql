-- Decided merchants that start with the same word, among the first two hundred: a range of the index for LIKE.
SELECT requested.key, decided.merchant_key, decided.status, decided.ticker
FROM unnest(%(keys)s::text[], %(words)s::text[], %(beyond)s::text[]) AS requested (key, word, beyond)
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT merchant_key, status, ticker FROM merchants
        WHERE merchant_key ~>=~ requested.word AND merchant_key ~<~ requested.beyond
        ORDER BY merchant_key USING ~<~ LIMIT %(scan_limit)s
    ) AS candidates
    WHERE status IN ('approved', 'not_listed') AND merchant_key <> requested.key LIMIT %(limit)s
) AS decided
