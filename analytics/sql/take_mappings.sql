-- At most so many counted changes of the log of proposals go from the deltas into the figures of their days.
-- Returns the same as take_transactions.sql.
WITH taken AS (
    DELETE FROM mapping_deltas
    WHERE id = ANY (ARRAY(SELECT id FROM mapping_deltas ORDER BY id LIMIT %(most)s))
    RETURNING *
),
days AS (
    INSERT INTO mapping_days AS known (day, status, source, automatic, rows, confidence)
    SELECT day, status, source, automatic, sum(rows), sum(confidence) FROM taken GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, status, source, automatic) DO UPDATE SET
        rows = known.rows + excluded.rows, confidence = known.confidence + excluded.confidence
    RETURNING id, rows
)
SELECT (SELECT count(*) FROM taken),
       (SELECT coalesce(json_object_agg(month, writes), '{}')::text FROM (
           SELECT date_trunc('month', day)::date AS month, sum(writes) AS writes FROM taken GROUP BY 1
       ) AS months),
       '{}'::date[],
       ARRAY(SELECT id FROM days WHERE rows = 0),
       '{}'::bigint[]
