-- Rows that an earlier attempt has stored: only their number of occurrences counts for the rows to come.
INSERT INTO statement_fingerprints AS known (statement_id, fingerprint, seen)
SELECT %(statement)s, fingerprint, count(*) FROM staged GROUP BY fingerprint
ON CONFLICT (statement_id, fingerprint) DO UPDATE SET seen = known.seen + excluded.seen
