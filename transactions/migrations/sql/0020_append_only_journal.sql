INSERT INTO journal_drafts (id, entry_date, reference, description, location, department, transaction_type, vendor_name,
                            customer_name, amount, lines, created_by_id, created_at)
SELECT id, entry_date, reference, description, location, department, transaction_type, vendor_name,
       customer_name, amount, lines, created_by_id, created_at
FROM journal_entries WHERE status = 'draft';

INSERT INTO journal_reversals (entry_id, reversed_by_id, reversed_at)
SELECT id, coalesce(reversed_by_id, created_by_id), reversed_at FROM journal_entries WHERE status = 'reversed';

DELETE FROM journal_entries WHERE status = 'draft';

-- From now on drafts take the numbers, from the next one on.
SELECT setval(pg_get_serial_sequence('journal_drafts', 'id'), nextval(pg_get_serial_sequence('journal_entries', 'id')), false);

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('journal_four_eyes_limit', '10000.00', 'decimal', 'Dollars above which a journal entry is posted by someone who did not write it; 0 for never.', now())
ON CONFLICT DO NOTHING;

-- reverse
SET CONSTRAINTS ALL IMMEDIATE;
DELETE FROM admin_settings WHERE key = 'journal_four_eyes_limit';
SELECT setval(pg_get_serial_sequence('journal_entries', 'id'), nextval(pg_get_serial_sequence('journal_drafts', 'id')), false);
UPDATE journal_entries SET status = 'posted';
UPDATE journal_entries SET status = 'reversed', reversed_at = reversal.reversed_at, reversed_by_id = reversal.reversed_by_id
FROM journal_reversals AS reversal WHERE reversal.entry_id = journal_entries.id;
INSERT INTO journal_entries (id, entry_date, reference, description, location, department, transaction_type, vendor_name,
                             customer_name, amount, lines, status, created_by_id, created_at)
SELECT id, entry_date, reference, description, location, department, transaction_type, vendor_name,
       customer_name, amount, lines, 'draft', created_by_id, created_at
FROM journal_drafts;
