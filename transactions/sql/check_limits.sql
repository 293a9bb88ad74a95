-- over_limit: the limit that each of the `candidates` would exceed, if any, in the order of their dates. The limit of a day is
-- about purchases made on it, so that a bank file of several months is booked; the others are about bookings.
{include booked_days}
balances AS MATERIALIZED (
    SELECT user_id, sum(amount) AS owed,
           coalesce(sum(month_amount) FILTER (
               WHERE month = date_trunc('month', %(now)s::timestamptz AT TIME ZONE 'UTC')::date
           ), 0) AS of_month
    FROM receivables WHERE user_id IN (SELECT user_id FROM candidates) GROUP BY user_id
),
over_limit AS MATERIALIZED (
    SELECT id, (ARRAY[%(over_day)s, %(over_month)s, %(over_owed)s])[exceeded[4]::int] AS reason
    FROM (
        SELECT candidates.id, kamioi_exceeded_limit(
                   candidates.day, candidates.amount, %(day_limit)s - coalesce(booked_days.amount, 0),
                   %(month_limit)s - coalesce(balances.of_month, 0), %(owed_limit)s - coalesce(balances.owed, 0)
               ) OVER (PARTITION BY candidates.user_id ORDER BY candidates.date, candidates.id) AS exceeded
        FROM candidates
        LEFT JOIN booked_days ON booked_days.user_id = candidates.user_id AND booked_days.day = candidates.day
        LEFT JOIN balances ON balances.user_id = candidates.user_id
    ) AS checked
    WHERE exceeded[4] > 0
),
