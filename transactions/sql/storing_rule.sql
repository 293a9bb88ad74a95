-- rule: by which the round-up and the fee of purchases are fixed that are stored now for a user.
rule AS MATERIALIZED (
    SELECT users.round_up_enabled, users.round_up_rule, users.round_up_amount, fees.fee, fees.max_share
    FROM users
    CROSS JOIN (
        SELECT fee, max_share FROM platform_fees WHERE first_day <= (%(now)s::timestamptz AT TIME ZONE 'UTC')::date
        ORDER BY first_day DESC LIMIT 1
    ) AS fees
    WHERE users.id = %(user)s
),
