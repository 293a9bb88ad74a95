-- Delete a user's rows that could not be migrated.
DELETE FROM migration_rejects
USING legacy_ids AS ids
WHERE ids.user_id = %(user)s
  AND ((migration_rejects.table_name = ids.source_table AND migration_rejects.legacy_id = ids.legacy_id::text)
       OR migration_rejects.row->>'user_id' = ids.legacy_id::text)
