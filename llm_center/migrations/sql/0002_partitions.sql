-- The first months of the mapping log.
DO $$
DECLARE
    month timestamp;
BEGIN
    FOR month IN SELECT generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'),
                                        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', '1 month') LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF llm_mappings FOR VALUES FROM (%L) TO (%L)',
                       'llm_mappings_' || to_char(month, '"y"YYYY"m"MM'), month::text || '+00', (month + interval '1 month')::text || '+00');
        EXECUTE format('COMMENT ON TABLE %I IS %L', 'llm_mappings_' || to_char(month, '"y"YYYY"m"MM'), 'psqlextra_auto_partitioned');
    END LOOP;
END $$;

-- reverse
SELECT 1;
