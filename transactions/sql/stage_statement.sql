-- One batch of a statement. Dropped on commit, so that nothing depends on the session; dropped first as well, because
-- several batches may share a transaction, as in tests. `legacy` is the fingerprint with the bank's reference, by which
-- earlier versions identified rows; `account` is the number of an account in the batch, 0 for that of the file.
DROP TABLE IF EXISTS pg_temp.staged;
CREATE TEMP TABLE staged (
    line bigint, fingerprint uuid, legacy uuid, date timestamptz, merchant text, merchant_key text,
    amount numeric(14, 2), category text, description text, row_class text, account smallint, reference bigint
) ON COMMIT DROP
