-- One batch of a statement; dropped at commit, so that nothing depends on the session.
CREATE TEMP TABLE staged (
    line bigint, fingerprint uuid, date timestamptz, merchant text, merchant_key text, amount numeric(14, 2),
    category text, description text
) ON COMMIT DROP
