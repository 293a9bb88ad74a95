-- On every shard, because the rows of a customer are on one.
booked_days AS MATERIALIZED (
    SELECT transactions.user_id, days.day, sum(round_up + fee) FILTER (WHERE status = 'completed') AS amount
    FROM (
        SELECT DISTINCT user_id, day FROM candidates WHERE %(day_limit)s::numeric IS NOT NULL
    ) AS days
    JOIN transactions ON transactions.user_id = days.user_id AND date >= days.day::timestamp AT TIME ZONE 'UTC'
                     AND date < (days.day + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY transactions.user_id, days.day
),
