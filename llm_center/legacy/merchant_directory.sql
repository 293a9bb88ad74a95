-- Merchants from the approved mappings of each merchant key. One listed company: approved. Several: the one named most
-- often leads (the newer one on a tie), and the merchant is proposed with the others as alternatives. None that is
-- listed: proposed without a ticker. Tickers rejected more often than approved are stored as rejected. Decisions made
-- in Kamioi are not changed.
WITH votes AS MATERIALIZED (
    SELECT merchant_key, ticker,
           count(*) FILTER (WHERE status = 'approved') AS approved,
           count(*) FILTER (WHERE status = 'rejected') AS rejected,
           max(created_at) FILTER (WHERE status = 'approved') AS newest,
           avg(confidence) FILTER (WHERE status = 'approved') AS confidence,
           max(merchant_name) AS name, max(company_name) AS company, max(category) AS category
    FROM llm_mappings WHERE source IN ('legacy', 'bulk') AND merchant_key <> ''
    GROUP BY merchant_key, ticker
),
ranked AS (
    SELECT votes.*, companies.name AS listed_name,
           row_number() OVER (PARTITION BY merchant_key ORDER BY approved DESC, newest DESC, votes.ticker) AS place,
           count(*) OVER (PARTITION BY merchant_key) AS rivals
    FROM votes JOIN companies ON companies.ticker = votes.ticker AND companies.is_listed
    WHERE approved > 0
),
others AS (
    SELECT merchant_key, jsonb_agg(jsonb_build_object('ticker', ticker, 'company_name', listed_name,
                                                      'approved', approved) ORDER BY place) AS alternatives
    FROM ranked WHERE place > 1 GROUP BY merchant_key
),
refused AS (
    SELECT merchant_key, jsonb_agg(ticker ORDER BY ticker) AS tickers
    FROM votes WHERE ticker IS NOT NULL AND rejected > approved GROUP BY merchant_key
),
unlisted AS (
    SELECT merchant_key, string_agg(ticker, ', ' ORDER BY approved DESC, ticker) AS tickers
    FROM votes WHERE approved > 0 AND ticker IS NOT NULL
      AND NOT EXISTS (SELECT FROM companies WHERE companies.ticker = votes.ticker AND is_listed)
    GROUP BY merchant_key
),
seen AS (
    SELECT merchant_key, sum(approved) AS approved, (array_agg(name ORDER BY approved DESC, name))[1] AS name,
           (array_agg(category ORDER BY approved DESC, category))[1] AS category
    FROM votes GROUP BY merchant_key
),
built AS (
    SELECT seen.merchant_key, seen.name, ranked.ticker, coalesce(ranked.listed_name, '') AS company,
           seen.category,
           CASE WHEN ranked.rivals = 1 AND ranked.approved >= ranked.rejected THEN 'approved' ELSE 'proposed' END AS status,
           round(ranked.confidence, 4) AS confidence, ranked.newest,
           CASE
               WHEN ranked.rivals > 1 THEN
                   format('%s companies were approved for this merchant; %s most often (%s times).',
                          ranked.rivals, ranked.ticker, ranked.approved)
               WHEN ranked.rejected > ranked.approved THEN
                   format('%s was approved %s times and rejected %s times.', ranked.ticker, ranked.approved, ranked.rejected)
               WHEN ranked.ticker IS NOT NULL THEN format('Approved %s times in the legacy system.', ranked.approved)
               WHEN unlisted.tickers IS NOT NULL THEN
                   left(format('Approved for %s, which is not listed.', unlisted.tickers), 500)
               WHEN seen.approved > 0 THEN 'Approved without a ticker in the legacy system.'
               ELSE 'Never approved in the legacy system.'
           END AS reason,
           coalesce(others.alternatives, '[]') AS alternatives, coalesce(refused.tickers, '[]') AS refused
    FROM seen
    LEFT JOIN ranked ON ranked.merchant_key = seen.merchant_key AND ranked.place = 1
    LEFT JOIN others ON others.merchant_key = seen.merchant_key
    LEFT JOIN refused ON refused.merchant_key = seen.merchant_key
    LEFT JOIN unlisted ON unlisted.merchant_key = seen.merchant_key
),
written AS (
    INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, confidence, source, reason,
                           alternatives, rejected_tickers, decided_at, waiting_count, waiting_amount, created_at, updated_at)
    SELECT merchant_key, name, ticker, company, category, status, confidence, 'legacy', reason, alternatives,
           -- what leads is not refused at the same time: a reviewer settles it
           refused - coalesce(ticker, ''),
           CASE WHEN status = 'approved' THEN newest END, 0, 0, now(), now()
    FROM built
    ON CONFLICT (merchant_key) DO UPDATE SET
        ticker = excluded.ticker, company_name = excluded.company_name, status = excluded.status,
        confidence = excluded.confidence, source = excluded.source, reason = excluded.reason,
        alternatives = excluded.alternatives, rejected_tickers = excluded.rejected_tickers,
        decided_at = excluded.decided_at, updated_at = excluded.updated_at
    WHERE merchants.decided_by_id IS NULL AND merchants.status = 'proposed' AND merchants.source IN ('ingest', 'legacy')
    RETURNING status, jsonb_array_length(alternatives) > 0 AS conflict
)
SELECT count(*), count(*) FILTER (WHERE status = 'approved'), count(*) FILTER (WHERE conflict) FROM written
