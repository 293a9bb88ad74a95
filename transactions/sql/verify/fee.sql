-- The fee of each booking is that of the day on which the purchase was stored; of one from before fees were kept by day,
-- that of the day of booking. Bookings from before are not checked, nor is a later booking of such a purchase: it keeps
-- its fee.
SELECT 'fee', paid.user_id, 'transaction ' || paid.transaction_id, format('$%%s', paid.fee), format('$%%s', due.fee)
FROM (
    SELECT user_id, transaction_id, date, ltrim(kind, '_abcdefghijklmnopqrstuvwxyz') AS number,
           sum(amount) FILTER (WHERE starts_with(kind, 'round_up')) AS round_up,
           coalesce(sum(amount) FILTER (WHERE starts_with(kind, 'fee')), 0.00) AS fee
    FROM ledger_transfers
    WHERE created_at >= greatest(%(since)s, (SELECT min(set_at) FROM platform_fees)) AND transaction_id IS NOT NULL
      AND kind ~ '^(round_up|fee)'
    GROUP BY user_id, transaction_id, date, number
) AS paid
LEFT JOIN transactions AS stored
  ON stored.user_id = paid.user_id AND stored.id = paid.transaction_id
 AND stored.created_at >= (SELECT min(set_at) FROM platform_fees)
CROSS JOIN LATERAL (
    SELECT kamioi_fee(paid.round_up, platform_fees.fee, max_share) AS fee FROM platform_fees
    WHERE first_day <= (coalesce(stored.created_at, paid.date) AT TIME ZONE 'UTC')::date
    ORDER BY first_day DESC LIMIT 1
) AS due
WHERE paid.round_up IS NOT NULL AND paid.fee <> due.fee
  AND (stored.id IS NOT NULL OR paid.number = '' AND NOT EXISTS (  -- the purchase may be detached
      SELECT FROM transaction_keys AS keys
      WHERE keys.user_id = paid.user_id AND keys.transaction_id = paid.transaction_id AND keys.date < %(purchases)s
  ))
