-- Refuse postings up to the end of the last closed month, or all days again where none is closed. It runs as the owner
-- and takes the month from period_closings, whose constraints demand two persons for a reopening.
-- NOT VALID, so that no row is read: the rows of closed months violate the constraint on purpose.
CREATE FUNCTION kamioi_enforce_closings() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    open_from timestamptz := (SELECT max(month) + interval '1 month' FROM period_closings WHERE reopened_at IS NULL);
BEGIN
    ALTER TABLE ledger_transfers DROP CONSTRAINT IF EXISTS ledger_transfers_period_closed;
    IF open_from IS NOT NULL THEN
        EXECUTE format(
            'ALTER TABLE ledger_transfers ADD CONSTRAINT ledger_transfers_period_closed CHECK (date >= %L) NOT VALID',
            open_from
        );
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION kamioi_enforce_closings() FROM PUBLIC;

-- reverse
ALTER TABLE ledger_transfers DROP CONSTRAINT IF EXISTS ledger_transfers_period_closed;
DROP FUNCTION kamioi_enforce_closings();
