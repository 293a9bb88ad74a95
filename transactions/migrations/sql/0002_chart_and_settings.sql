-- The chart of accounts that Kamioi books on, the settings with their legacy names, and the first partitions.
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
    ('67010', 'Amortization expense', 'expense')
ON CONFLICT DO NOTHING;

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('platform_fee', '0.25', 'decimal', 'Fee in dollars for each purchase that invests.', now()),
    ('confidence_threshold', '0.90', 'decimal', 'Proposals at or above this confidence (0 to 1) may be approved without a reviewer.', now()),
    ('auto_approval_enabled', 'true', 'boolean', 'Whether proposals may be approved without a reviewer at all.', now())
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
DELETE FROM ledger_accounts WHERE number IN
    ('10100', '12100', '15100', '15200', '20100', '22100', '29900', '30900', '40100', '67010');
DELETE FROM admin_settings WHERE key IN ('platform_fee', 'confidence_threshold', 'auto_approval_enabled');
