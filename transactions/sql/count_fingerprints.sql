-- Count the fingerprints of rows that an earlier attempt stored; later occurrences are numbered from there.
INSERT INTO statement_fingerprints AS stored (statement_id, fingerprint, seen)
SELECT %(statement)s, fingerprint, count(*) FROM staged GROUP BY fingerprint
ON CONFLICT (statement_id, fingerprint) DO UPDATE SET seen = stored.seen + excluded.seen
