-- Uploaded rows that repeat an older one exactly, among the merchant names of one step.
SELECT count(*), count(DISTINCT merchant_name),
       coalesce(array_agg(id) FILTER (WHERE source = 'bulk' AND place > 1), '{}')
FROM (
    SELECT id, merchant_name, source, row_number() OVER (
        PARTITION BY merchant_name, merchant_key, ticker, category, company_name, confidence, status, admin_approved,
                     ai_reasoning, transaction_id, user_id, source
        ORDER BY created_at, id
    ) AS place
    FROM llm_mappings WHERE merchant_name > %(after)s AND merchant_name <= %(upto)s
) AS named
