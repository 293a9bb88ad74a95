-- At most %(per_place)s rows of each bucket and shard, most urgent first; for the setting see claim_buckets.citus.sql.
DROP TABLE IF EXISTS first_pending;
SET LOCAL citus.subquery_pushdown = on;
CREATE TEMP TABLE first_pending ON COMMIT DROP AS
{include pending_rows}
ORDER BY priority, id LIMIT %(size)s;
SET LOCAL citus.subquery_pushdown = off;
WITH claimed AS MATERIALIZED (SELECT * FROM first_pending),
