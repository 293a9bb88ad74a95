-- Count the decisions from a day on. `decided_at` is the time of the write, and a decision can be undone for minutes only,
-- so counting from the day before the last counted one misses nothing.
-- Two commands, because Citus refuses DELETE and INSERT in one statement that reads `mapping_decisions`.
DELETE FROM decision_days AS known
WHERE day >= %(since)s AND NOT EXISTS (
    SELECT FROM mapping_decisions AS decision
    WHERE (decision.decided_at AT TIME ZONE 'UTC')::date = known.day AND decision.automatic = known.automatic
      AND decision.action = known.action
);
WITH actual AS MATERIALIZED (
    SELECT (decision.decided_at AT TIME ZONE 'UTC')::date AS day, decision.automatic, decision.action, count(*) AS decisions,
           count(undone.id) AS reversed,
           count(*) FILTER (
               WHERE NOT decision.automatic AND decision.action IN ('correct', 'not_listed', 'reject')
                 AND decision.before->>'status' = 'approved' AND decision.before->>'decided_by' IS NULL
           ) AS overturned,
           sum(decision.released_count) AS released, count(decision.waited_seconds) AS waited,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY decision.waited_seconds) AS median_seconds,
           percentile_cont(0.9) WITHIN GROUP (ORDER BY decision.waited_seconds) AS slow_seconds
    FROM mapping_decisions AS decision
    LEFT JOIN mapping_decisions AS undone ON undone.undoes_id = decision.id
    WHERE (decision.decided_at AT TIME ZONE 'UTC')::date >= %(since)s
    GROUP BY 1, 2, 3
)
INSERT INTO decision_days AS known (day, automatic, action, decisions, reversed, overturned, released, waited, median_seconds,
                                    slow_seconds)
SELECT * FROM actual
ON CONFLICT (day, automatic, action) DO UPDATE SET
    decisions = excluded.decisions, reversed = excluded.reversed, overturned = excluded.overturned,
    released = excluded.released, waited = excluded.waited, median_seconds = excluded.median_seconds,
    slow_seconds = excluded.slow_seconds
