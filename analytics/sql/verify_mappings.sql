-- List totals of a month that differ from the mapping log; see verify_transactions.sql.
WITH counted AS (
    SELECT day, status, source, automatic, sum(rows) AS rows, sum(confidence) AS confidence
    FROM (
        SELECT day, status, source, automatic, rows, confidence FROM mapping_days WHERE day >= %(low)s AND day < %(high)s
        UNION ALL
        SELECT day, status, source, automatic, rows, confidence FROM mapping_deltas WHERE day >= %(low)s AND day < %(high)s
    ) AS parts
    GROUP BY 1, 2, 3, 4
    HAVING sum(rows) <> 0
),
actual AS (
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, status, source, ai_auto_approved AS automatic, count(*) AS rows,
           sum(confidence) AS confidence
    FROM llm_mappings WHERE created_at >= %(from)s AND created_at < %(to)s
    GROUP BY 1, 2, 3, 4
)
SELECT concat_ws(' ', 'mappings of', day, status, source, CASE WHEN automatic THEN 'automatic' END),
       CASE WHEN counted.rows IS NULL THEN 'nothing' ELSE format('%%s rows, confidence %%s', counted.rows, counted.confidence) END,
       CASE WHEN actual.rows IS NULL THEN 'nothing' ELSE format('%%s rows, confidence %%s', actual.rows, actual.confidence) END
FROM counted FULL JOIN actual USING (day, status, source, automatic)
WHERE (counted.rows, counted.confidence) IS DISTINCT FROM (actual.rows, actual.confidence)
ORDER BY 1
