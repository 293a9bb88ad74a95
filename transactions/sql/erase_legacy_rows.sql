-- Delete what the migration stores about a user beside the tables: the account, rows that reference it, and leftover
-- columns of transactions.
DELETE FROM legacy_rows
USING legacy_ids AS ids
WHERE ids.user_id = %(user)s
  AND ((legacy_rows.source_table = ids.source_table AND legacy_rows.legacy_id = ids.legacy_id::text)
       OR legacy_rows.data->>'user_id' = ids.legacy_id::text
       OR (legacy_rows.source_table = 'transactions' AND legacy_rows.legacy_id IN (
            SELECT id::text FROM transactions WHERE user_id = %(user)s)))
