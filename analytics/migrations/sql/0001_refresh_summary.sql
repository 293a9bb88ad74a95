-- Refresh the materialized view without blocking its readers. Only its owner may, so this runs as the owner.
-- A dump restored without its data leaves the view unpopulated; then it has no readers to block.
CREATE FUNCTION kamioi_refresh_summary() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF (SELECT relispopulated FROM pg_class WHERE oid = 'llm_analytics_summary'::regclass) THEN
        REFRESH MATERIALIZED VIEW CONCURRENTLY llm_analytics_summary;
    ELSE
        REFRESH MATERIALIZED VIEW llm_analytics_summary;
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION kamioi_refresh_summary() FROM PUBLIC;

-- reverse
DROP FUNCTION kamioi_refresh_summary();
