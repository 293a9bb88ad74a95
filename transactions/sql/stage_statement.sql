-- One batch of a statement; gone at commit, so that nothing depends on the session. (Several batches may share a transaction: tests do.)
DROP TABLE IF EXISTS pg_temp.staged;
CREATE TEMP TABLE staged (
    line bigint, fingerprint uuid, date timestamptz, merchant text, merchant_key text, amount numeric(14, 2),
    category text, description text
) ON COMMIT DROP
