-- Delete a user's rows that could not be migrated.
DELETE FROM migration_rejects
USING legacy_ids AS known
WHERE known.user_id = %(user)s
  AND ((migration_rejects.table_name = known.source_table AND migration_rejects.legacy_id = known.legacy_id::text)
       OR migration_rejects.row->>'user_id' = known.legacy_id::text)
