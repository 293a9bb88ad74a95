-- The settings of the LLM Center and the first partitions of the mapping log.
INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('four_eyes_limit', '0', 'decimal', 'Dollars of waiting round-ups from which a decision needs a second reviewer; 0 for never.', now()),
    ('llm_provider', '', 'string', 'Provider of proposals: matcher or openai. Empty: the value of LLM_PROVIDER.', now()),
    ('llm_batch_size', '', 'string', 'Merchants in one model request, 1 to 100. Empty: the value of LLM_BATCH_SIZE.', now()),
    ('llm_monthly_budget', '', 'string', 'Dollars a calendar month after which no model is called; 0 for no limit. Empty: the value of LLM_MONTHLY_BUDGET.', now()),
    ('amortization_credit_account', '15100', 'string', 'Account that amortization is credited to: 15100, or 15200 as in the legacy system.', now())
ON CONFLICT DO NOTHING;

DO $$
DECLARE
    month timestamp;
BEGIN
    FOR month IN SELECT generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'),
                                        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', '1 month') LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF llm_mappings FOR VALUES FROM (%L) TO (%L)',
                       'llm_mappings_' || to_char(month, '"y"YYYY"m"MM'), month::text || '+00', (month + interval '1 month')::text || '+00');
        EXECUTE format('COMMENT ON TABLE %I IS %L', 'llm_mappings_' || to_char(month, '"y"YYYY"m"MM'), 'psqlextra_auto_partitioned');
    END LOOP;
END $$;

-- reverse
DELETE FROM admin_settings WHERE key IN ('four_eyes_limit', 'llm_provider', 'llm_batch_size', 'llm_monthly_budget', 'amortization_credit_account');
