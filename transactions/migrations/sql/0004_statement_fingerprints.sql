-- How often a row was seen in the statement that is being read, so that two equal purchases on one day are two.
-- Scratch paper of a running import: unlogged, emptied at its end, and filled anew when an import is resumed.
CREATE UNLOGGED TABLE statement_fingerprints (
    statement_id bigint NOT NULL,
    fingerprint uuid NOT NULL,
    seen integer NOT NULL,
    PRIMARY KEY (statement_id, fingerprint)
);

-- reverse
DROP TABLE statement_fingerprints;
