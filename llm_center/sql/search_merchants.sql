-- Merchants with this text in a name, the ticker, the company or the category, by `idx_merchants_search`.
SELECT merchant_key FROM merchants
WHERE (merchant_key || ' ' || display_name || ' ' || coalesce(ticker, '') || ' ' || company_name || ' ' || category)
    ILIKE %(pattern)s
LIMIT %(limit)s
