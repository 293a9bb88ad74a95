-- List the partitions of both tables: bounds, file, and the rows ever written to them by PostgreSQL's statistics, including
-- what this session has not reported yet. TRUNCATE and re-creating a table change the file.
SELECT parent.relname, child.relname, coalesce(pg_relation_filenode(child.oid), child.oid)::bigint,
       pg_get_expr(child.relpartbound, child.oid),
       coalesce(pg_stat_get_tuples_inserted(child.oid), 0) + coalesce(pg_stat_get_tuples_updated(child.oid), 0)
       + coalesce(pg_stat_get_tuples_deleted(child.oid), 0) + coalesce(pg_stat_get_xact_tuples_inserted(child.oid), 0)
       + coalesce(pg_stat_get_xact_tuples_updated(child.oid), 0) + coalesce(pg_stat_get_xact_tuples_deleted(child.oid), 0)
FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
JOIN pg_class AS parent ON parent.oid = inhparent
WHERE inhparent IN (to_regclass('transactions'), to_regclass('llm_mappings'))
ORDER BY child.relname
