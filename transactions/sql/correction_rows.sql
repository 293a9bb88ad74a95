-- A merchant's settled purchases that do not belong to %(ticker)s (NULL: to no company), what they invest, and what
-- prevents the correction of one: there is no booking to reverse, it was booked as often as a purchase can be, or its
-- customer was erased.
SELECT transactions.id, user_id, date, merchant, amount, status, ticker, shares, booking, round_up, fee, investable,
       status = 'completed' AND investable > 0 AS booked,
       users.is_active AND users.email_verified_at IS NOT NULL AS invests,
       CASE WHEN status = 'completed' AND investable > 0 THEN round_up
            ELSE coalesce(round_up_cents / 100.0, kamioi_round_up(
                amount, users.round_up_enabled, users.round_up_rule, users.round_up_amount
            ))::numeric(14, 2) END AS due,
       CASE WHEN source = 'legacy' THEN 'legacy'
            WHEN booking + 1 >= %(max_bookings)s AND status = 'completed' AND investable > 0 THEN 'bookings'
            WHEN users.erased_at IS NOT NULL THEN 'erased' END AS obstacle
FROM transactions JOIN users ON users.id = transactions.user_id
WHERE merchant_key = %(merchant_key)s AND status IN ('completed', 'mapped', 'awaiting_price', 'not_listed')
  AND ticker IS DISTINCT FROM %(ticker)s
