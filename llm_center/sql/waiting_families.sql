-- Waiting merchants that start with the same words, among the first hundreds: ranges of the index for LIKE. Those with
-- another proposal, those that rejected this one, and those that wait for a second reviewer are not offered together.
SELECT requested.key, waiting.id, waiting.merchant_key, coalesce(waiting.ticker, ''), waiting.waiting_count,
       waiting.waiting_amount, waiting.updated_at
FROM unnest(%(keys)s::text[], %(tickers)s::text[], %(starts)s::text[], %(beyond)s::text[])
     AS requested (key, ticker, start, beyond)
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT id, merchant_key, ticker, status, rejected_tickers, waiting_count, waiting_amount, updated_at
        FROM merchants
        WHERE merchant_key ~>=~ requested.start AND merchant_key ~<~ requested.beyond
        ORDER BY merchant_key USING ~<~ LIMIT %(scan_limit)s
    ) AS candidates
    WHERE status IN ('proposed', 'rejected') AND merchant_key <> requested.key
        AND coalesce(ticker, requested.ticker) = requested.ticker
        AND NOT rejected_tickers @> to_jsonb(requested.ticker)
        AND NOT EXISTS (SELECT FROM pending_decisions WHERE merchant_id = candidates.id)
) AS waiting
ORDER BY waiting.merchant_key
