-- Listed companies whose ticker starts with the term, by the index for LIKE, then those whose name has words that start
-- with the words of the term, by `idx_companies_words`. Names that start with the term come first; of several shares of
-- a company, the shortest ticker is before all others (BAC, then its preferred stock).
(
    SELECT ticker, name, exchange, true AS by_ticker FROM companies
    WHERE is_listed AND ticker ~>=~ %(ticker)s AND ticker ~<~ %(beyond)s
    ORDER BY ticker USING ~<~ LIMIT %(limit)s
)
UNION ALL
(
    SELECT ticker, name, exchange, false FROM companies
    WHERE is_listed AND (ticker ~>=~ %(ticker)s AND ticker ~<~ %(beyond)s) IS NOT TRUE
        AND to_tsvector('simple', regexp_replace(translate(name, '''’', ''), '[^[:alnum:]]+', ' ', 'g'))
            @@ to_tsquery('simple', %(words)s)
    ORDER BY starts_with(upper(name), %(start)s) DESC,
             row_number() OVER (PARTITION BY name ORDER BY length(ticker), ticker), name
    LIMIT %(limit)s
)
