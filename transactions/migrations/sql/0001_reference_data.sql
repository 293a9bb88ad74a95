-- The chart of accounts, the settings, the fee until its first change and the first partitions.
INSERT INTO ledger_accounts (number, name, type) VALUES
    ('10100', 'Bank', 'asset'),
    ('10200', 'Cash at broker', 'asset'),
    ('11100', 'Receivable from customers', 'asset'),
    ('12100', 'Securities at broker', 'asset'),
    ('15100', 'Accumulated amortization', 'asset'),
    ('15200', 'LLM data assets', 'asset'),
    ('20100', 'Customer funds', 'liability'),
    ('22100', 'Securities owed to customers', 'liability'),
    ('30900', 'Opening balances', 'equity'),
    ('40100', 'Platform fees', 'revenue'),
    ('40200', 'Gain on disposal of assets', 'revenue'),
    ('67010', 'Amortization expense', 'expense'),
    ('67020', 'Impairment of LLM data assets', 'expense'),
    ('67030', 'Loss on disposal of assets', 'expense'),
    ('67040', 'Execution difference', 'expense'),
    ('67050', 'Corrections', 'expense')
ON CONFLICT DO NOTHING;

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('platform_fee', '0.25', 'decimal', 'Fee in dollars for each purchase that invests. A change applies from tomorrow on.', now()),
    ('platform_fee_max_share', '0.25', 'decimal', 'The platform fee is at most this share (0 to 1) of the round-up.', now()),
    ('confidence_threshold', '0.90', 'decimal', 'Proposals at or above this confidence (0 to 1) may be approved without a reviewer.', now()),
    ('auto_approval_enabled', 'true', 'boolean', 'Whether proposals may be approved without a reviewer.', now()),
    ('queue_processing_enabled', 'true', 'boolean', 'Whether the LLM queue runs automatically every few minutes.', now()),
    ('process_selected_max_orders', '500', 'decimal', 'Orders that staff may send to the market at once (500 at most).', now()),
    ('process_selected_max_amount', '10000', 'decimal', 'Dollars of round-ups that staff may send to the market at once.', now()),
    ('journal_four_eyes_limit', '10000.00', 'decimal', 'Dollars above which a journal entry is posted by someone who did not write it; 0 for never.', now()),
    ('limit_per_day', '50.00', 'decimal', 'Dollars of round-ups and fees that the purchases of one day may set aside for a customer. Blank: no limit.', now()),
    ('limit_per_month', '500.00', 'decimal', 'Dollars of round-ups and fees that are booked for a customer in a calendar month. Blank: no limit.', now()),
    ('limit_owed', '500.00', 'decimal', 'Dollars that a customer may owe. Blank: no limit.', now()),
    ('purchase_history_days', '', 'decimal', 'How many days before the opening of an account a purchase may lie. Blank: PURCHASE_HISTORY_DAYS, 120 days.', now()),
    ('upload_confirm_purchases', '1000', 'decimal', 'An upload with more purchases must be confirmed. Blank: no limit.', now()),
    ('upload_confirm_amount', '500.00', 'decimal', 'An upload that would set aside more dollars must be confirmed. Blank: no limit.', now()),
    ('uploads_running', '5', 'decimal', 'Uploads of one customer that may be read at the same time.', now()),
    ('uploads_per_day', '500', 'decimal', 'Files that one customer may upload within 24 hours.', now()),
    ('upload_megabytes_per_day', '1000', 'decimal', 'Megabytes that one customer may upload within 24 hours.', now()),
    ('upload_expiry_days', '90', 'decimal', 'Days until uploaded files and the rejected rows of imports are deleted.', now()),
    ('export_expiry_days', '7', 'decimal', 'Days until exports of personal data are deleted.', now())
ON CONFLICT DO NOTHING;

INSERT INTO platform_fees (first_day, fee, max_share, set_at) VALUES ('2000-01-01', 0.25, 0.25, now()) ON CONFLICT DO NOTHING;

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
DELETE FROM platform_fees;
DELETE FROM admin_settings;
DELETE FROM ledger_accounts;
