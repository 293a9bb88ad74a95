-- How often a running import has seen a row, so that two equal purchases on one day count as two.
-- Unlogged: emptied at the end of the import, rebuilt when the import resumes.
CREATE UNLOGGED TABLE statement_fingerprints (
    statement_id bigint NOT NULL,
    fingerprint uuid NOT NULL,
    seen integer NOT NULL,
    PRIMARY KEY (statement_id, fingerprint)
);

-- reverse
DROP TABLE statement_fingerprints;
