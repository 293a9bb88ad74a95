-- Merchants whose key starts with the text, and those of some companies: for texts without three letters in a row, and
-- for servers without `pg_trgm`.
(
    SELECT merchant_key FROM merchants
    WHERE %(key)s <> '' AND merchant_key ~>=~ %(key)s AND merchant_key ~<~ %(beyond)s
    ORDER BY merchant_key USING ~<~ LIMIT %(limit)s
)
UNION
(SELECT merchant_key FROM merchants WHERE ticker = ANY (%(tickers)s) LIMIT %(limit)s)
