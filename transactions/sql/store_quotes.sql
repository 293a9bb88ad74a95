-- Store the plausible quotes: of listed companies, not in the future, and without a jump that only an error explains.
WITH quotes AS (
    SELECT * FROM unnest(%(tickers)s::text[], %(prices)s::numeric[], %(times)s::timestamptz[])
        WITH ORDINALITY AS quote (ticker, price, as_of, position)
),
checked AS MATERIALIZED (
    SELECT quotes.*,
           CASE
               WHEN companies.ticker IS NULL THEN 'not a listed company'
               WHEN quotes.as_of > %(now)s + interval '1 minute' THEN 'the time of the quote is in the future'
               WHEN %(max_jump)s > 0 AND newest.price IS NOT NULL
                    AND NOT quotes.price BETWEEN newest.price / %(max_jump)s AND newest.price * %(max_jump)s
                   THEN 'jumps from ' || newest.price || ' to ' || quotes.price || '; after a split use --accept-jumps'
           END AS rejection
    FROM quotes
    LEFT JOIN companies ON companies.ticker = quotes.ticker AND companies.is_listed
    LEFT JOIN LATERAL (
        SELECT price FROM stock_prices WHERE stock_prices.ticker = quotes.ticker AND stock_prices.as_of < quotes.as_of
        ORDER BY stock_prices.as_of DESC LIMIT 1
    ) AS newest ON true
),
stored AS (
    INSERT INTO stock_prices (ticker, price, as_of, source)
    SELECT DISTINCT ON (ticker, as_of) ticker, price, as_of, %(source)s FROM checked WHERE rejection IS NULL
    ON CONFLICT (ticker, as_of) DO NOTHING
    RETURNING ticker
)
SELECT ticker, rejection, stored FROM (
    SELECT NULL AS ticker, NULL AS rejection, count(*) AS stored, 0 AS position FROM stored
    UNION ALL
    SELECT ticker, rejection, 0, position FROM checked WHERE rejection IS NOT NULL
) AS outcome ORDER BY position
