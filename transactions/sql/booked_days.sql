-- booked_days: one lookup by primary key for each day. The status is no condition of it, because with one the planner may
-- read everything that was ever booked instead.
booked_days AS MATERIALIZED (
    SELECT days.user_id, days.day, booked.amount
    FROM (
        SELECT DISTINCT user_id, day FROM candidates WHERE %(day_limit)s::numeric IS NOT NULL
    ) AS days
    CROSS JOIN LATERAL (
        SELECT sum(round_up + fee) FILTER (WHERE status = 'completed') AS amount
        FROM transactions
        WHERE user_id = days.user_id AND date >= days.day::timestamp AT TIME ZONE 'UTC'
          AND date < (days.day + 1)::timestamp AT TIME ZONE 'UTC'
    ) AS booked
),
