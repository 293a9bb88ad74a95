-- A page of the log: the rows of these merchants, and those of the newest rows that contain the text. `total` counts
-- both. The first limit bounds a merchant with very many rows, the second one the rows that are read for their text.
WITH newest AS MATERIALIZED (
    SELECT id, created_at, merchant_name, ticker, company_name, category FROM llm_mappings
    WHERE {status} ORDER BY created_at DESC, id DESC LIMIT %(window)s
),
of_merchants AS MATERIALIZED (
    SELECT id, created_at FROM llm_mappings WHERE merchant_key = ANY (%(keys)s) AND {status} LIMIT %(window)s
),
matches AS MATERIALIZED (
    SELECT id, created_at FROM of_merchants
    UNION
    SELECT id, created_at FROM newest
    WHERE concat_ws(' ', merchant_name, ticker, company_name, category) ILIKE %(pattern)s
)
SELECT (SELECT count(*) FROM matches) AS total, page.*
FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
    SELECT created_at, id FROM matches WHERE {after} ORDER BY created_at DESC, id DESC
    LIMIT %(limit)s OFFSET %(offset)s
) AS page ON true
