-- Quotes that fit what is known: of listed companies, and no jump from the newest quote that only an error explains.
WITH quotes AS (
    SELECT * FROM unnest(%(tickers)s::text[], %(prices)s::numeric[], %(times)s::timestamptz[]) AS quote (ticker, price, as_of)
),
judged AS MATERIALIZED (
    SELECT quotes.*,
           CASE
               WHEN companies.ticker IS NULL THEN 'not a listed company of the company table'
               WHEN quotes.as_of > %(now)s + interval '1 minute' THEN 'the time of the quote lies ahead'
               WHEN %(max_jump)s > 0 AND newest.price IS NOT NULL
                    AND NOT quotes.price BETWEEN newest.price / %(max_jump)s AND newest.price * %(max_jump)s
                   THEN 'jumps from ' || newest.price || ' to ' || quotes.price || '; a split? then accept it with --accept-jumps'
           END AS refusal
    FROM quotes
    LEFT JOIN companies ON companies.ticker = quotes.ticker AND companies.is_listed
    LEFT JOIN LATERAL (
        SELECT price FROM stock_prices WHERE stock_prices.ticker = quotes.ticker AND stock_prices.as_of < quotes.as_of
        ORDER BY stock_prices.as_of DESC LIMIT 1
    ) AS newest ON true
),
stored AS (
    INSERT INTO stock_prices (ticker, price, as_of, source)
    SELECT DISTINCT ON (ticker, as_of) ticker, price, as_of, %(source)s FROM judged WHERE refusal IS NULL
    ON CONFLICT (ticker, as_of) DO NOTHING
    RETURNING ticker
)
SELECT NULL AS ticker, NULL AS refusal, count(*) AS stored FROM stored
UNION ALL
SELECT ticker, refusal, 0 FROM judged WHERE refusal IS NOT NULL
