-- A customer's transactions of a month: purchases, refunds, what was invested here, what the legacy system invested, what
-- waits. An invested purchase is in the ledger if it is not the legacy system's and has an amount to invest.
SELECT count(*) FILTER (WHERE amount > 0), coalesce(sum(amount) FILTER (WHERE amount > 0), 0.00),
       count(*) FILTER (WHERE amount < 0), coalesce(sum(amount) FILTER (WHERE amount < 0), 0.00),
       count(*) FILTER (WHERE status = 'completed' AND investable > 0),
       coalesce(sum(round_up) FILTER (WHERE booked), 0.00), coalesce(sum(fee) FILTER (WHERE booked), 0.00),
       coalesce(sum(investable) FILTER (WHERE booked), 0.00),
       coalesce(sum(round_up) FILTER (WHERE legacy), 0.00), coalesce(sum(fee) FILTER (WHERE legacy), 0.00),
       coalesce(sum(investable) FILTER (WHERE legacy), 0.00),
       count(*) FILTER (WHERE waiting), coalesce(sum(round_up) FILTER (WHERE waiting), 0.00)
FROM (
    SELECT *, status = 'completed' AND source <> 'legacy' AND investable > 0 AS booked,
           status = 'completed' AND source = 'legacy' AS legacy,
           status IN ('pending', 'mapped', 'needs_review', 'awaiting_price', 'on_hold') AS waiting
    FROM transactions WHERE user_id = %(user)s AND date >= %(start)s AND date < %(end)s
      AND status <> 'undone'
) AS month
