-- One batch of a statement. Dropped on commit, so that nothing depends on the session; dropped first as well, because
-- several batches may share a transaction, as in tests.
DROP TABLE IF EXISTS pg_temp.staged;
CREATE TEMP TABLE staged (
    line bigint, fingerprint uuid, date timestamptz, merchant text, merchant_key text, amount numeric(14, 2),
    category text, description text, row_class text
) ON COMMIT DROP
