-- The chart of accounts, the settings under their legacy names, and the first partitions.
INSERT INTO ledger_accounts (number, name, type) VALUES
    ('10100', 'Bank', 'asset'),
    ('12100', 'Customer securities', 'asset'),
    ('15100', 'Accumulated amortization', 'asset'),
    ('15200', 'LLM data assets', 'asset'),
    ('20100', 'Customer funds', 'liability'),
    ('22100', 'Securities held for customers', 'liability'),
    ('29900', 'Rounding differences', 'liability'),
    ('30900', 'Opening balances', 'equity'),
    ('40100', 'Platform fees', 'revenue'),
    ('40200', 'Gain on disposal of assets', 'revenue'),
    ('67010', 'Amortization expense', 'expense'),
    ('67020', 'Impairment of LLM data assets', 'expense'),
    ('67030', 'Loss on disposal of assets', 'expense')
ON CONFLICT DO NOTHING;

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('platform_fee', '0.25', 'decimal', 'Fee in dollars for each purchase that invests.', now()),
    ('confidence_threshold', '0.90', 'decimal', 'Proposals at or above this confidence (0 to 1) may be approved without a reviewer.', now()),
    ('auto_approval_enabled', 'true', 'boolean', 'Whether proposals may be approved without a reviewer.', now()),
    ('queue_processing_enabled', 'true', 'boolean', 'Whether the LLM queue runs automatically every few minutes.', now()),
    ('process_selected_max_orders', '500', 'decimal', 'Orders that staff may send to the market at once (500 at most).', now()),
    ('process_selected_max_amount', '10000', 'decimal', 'Dollars of round-ups that staff may send to the market at once.', now())
ON CONFLICT DO NOTHING;

DO $$
DECLARE
    month timestamp;
BEGIN
    FOR month IN SELECT generate_series(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 months',
                                        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', '1 month') LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF transactions FOR VALUES FROM (%L) TO (%L)',
                       'transactions_' || to_char(month, '"y"YYYY"m"MM'), month::text || '+00', (month + interval '1 month')::text || '+00');
        EXECUTE format('COMMENT ON TABLE %I IS %L', 'transactions_' || to_char(month, '"y"YYYY"m"MM'), 'psqlextra_auto_partitioned');
        EXECUTE format('CREATE TABLE %I PARTITION OF ledger_transfers FOR VALUES FROM (%L) TO (%L)',
                       'ledger_transfers_' || to_char(month, '"y"YYYY"m"MM'), month::text || '+00', (month + interval '1 month')::text || '+00');
        EXECUTE format('COMMENT ON TABLE %I IS %L', 'ledger_transfers_' || to_char(month, '"y"YYYY"m"MM'), 'psqlextra_auto_partitioned');
    END LOOP;
END $$;

-- reverse
DELETE FROM ledger_accounts;
DELETE FROM admin_settings WHERE key IN ('platform_fee', 'confidence_threshold', 'auto_approval_enabled', 'queue_processing_enabled', 'process_selected_max_orders', 'process_selected_max_amount');
