-- Recount the totals of a month from the mapping log; see recount_transactions.sql.
WITH deleted_deltas AS (
    DELETE FROM mapping_deltas WHERE day >= %(low)s AND day < %(high)s RETURNING writes
),
actual_days AS MATERIALIZED (
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, status, source, ai_auto_approved AS automatic, count(*) AS rows,
           sum(confidence) AS confidence
    FROM llm_mappings WHERE created_at >= %(from)s AND created_at < %(to)s
    GROUP BY 1, 2, 3, 4
),
deleted_days AS (
    DELETE FROM mapping_days AS known
    WHERE day >= %(low)s AND day < %(high)s AND NOT EXISTS (
        SELECT FROM actual_days AS actual
        WHERE actual.day = known.day AND actual.status = known.status AND actual.source = known.source
          AND actual.automatic = known.automatic
    )
    RETURNING 1
),
days AS (
    INSERT INTO mapping_days AS known (day, status, source, automatic, rows, confidence)
    SELECT * FROM actual_days
    ON CONFLICT (day, status, source, automatic) DO UPDATE SET rows = excluded.rows, confidence = excluded.confidence
    WHERE (known.rows, known.confidence) IS DISTINCT FROM (excluded.rows, excluded.confidence)
    RETURNING 1
)
SELECT (SELECT coalesce(sum(writes), 0) FROM deleted_deltas), (SELECT count(*) FROM deleted_days) + (SELECT count(*) FROM days)
