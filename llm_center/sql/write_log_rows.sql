-- Update or delete rows of the log and add the difference to the counters of their days. A template: "selection" selects the
-- rows, "write" is the start of the statement, "sides" the counters that each written row changes.
WITH was (id, created_at, status, source, automatic, confidence) AS MATERIALIZED ({selection}),
written AS (
    {write}
    WHERE llm_mappings.id = was.id AND llm_mappings.created_at = was.created_at
      AND llm_mappings.status = was.status AND llm_mappings.source = was.source
      AND llm_mappings.confidence = was.confidence
    RETURNING was.*, llm_mappings.status AS now_status, llm_mappings.source AS now_source,
              llm_mappings.confidence AS now_confidence
),
counted AS (
    INSERT INTO mapping_deltas (day, status, source, automatic, rows, confidence, writes)
    SELECT (created_at AT TIME ZONE 'UTC')::date, side.status, side.source, automatic, sum(side.n),
           sum(side.n * side.confidence), sum(side.writes)
    FROM written CROSS JOIN LATERAL (VALUES {sides}) AS side (n, status, source, confidence, writes)
    GROUP BY 1, 2, 3, 4
)
SELECT count(*) FROM written
