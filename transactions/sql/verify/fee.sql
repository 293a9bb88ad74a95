-- The fee of each booking is that of the settings of its day. Bookings from before fees were kept by day are not checked.
SELECT 'fee', user_id, 'transaction ' || transaction_id, format('$%%s', paid.fee), format('$%%s', due.fee)
FROM (
    SELECT user_id, transaction_id, date, sum(amount) FILTER (WHERE starts_with(kind, 'round_up')) AS round_up,
           coalesce(sum(amount) FILTER (WHERE starts_with(kind, 'fee')), 0.00) AS fee
    FROM ledger_transfers
    WHERE created_at >= greatest(%(since)s, (SELECT min(set_at) FROM platform_fees)) AND transaction_id IS NOT NULL
      AND kind ~ '^(round_up|fee)'
    GROUP BY user_id, transaction_id, date, ltrim(kind, '_abcdefghijklmnopqrstuvwxyz')
) AS paid
CROSS JOIN LATERAL (
    SELECT kamioi_fee(paid.round_up, platform_fees.fee, max_share) AS fee FROM platform_fees
    WHERE first_day <= (paid.date AT TIME ZONE 'UTC')::date ORDER BY first_day DESC LIMIT 1
) AS due
WHERE paid.round_up IS NOT NULL AND paid.fee <> due.fee
