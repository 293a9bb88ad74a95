-- Completed purchases agree with their postings and with their price. From a seal on: those with a posting since.
{include booked_postings}
SELECT 'transaction', coalesce(moved.user_id, booked.user_id),
       'transaction ' || coalesce(moved.id, booked.transaction_id),
       format('round-up %%s, fee %%s, invested %%s, %%s shares of %%s',
              booked.round_up, booked.fee, booked.invested, booked.shares, booked.ticker),
       format('round-up %%s, fee %%s, invested %%s, %%s shares of %%s at $%%s',
              moved.round_up, moved.fee, moved.investable, moved.shares, moved.ticker, moved.price_per_share)
FROM (
    SELECT id, user_id, date, round_up, fee, investable, ticker, shares, price_per_share FROM transactions
    WHERE status = 'completed' AND investable > 0 AND source <> 'legacy'
) AS moved
FULL JOIN booked ON booked.transaction_id = moved.id AND booked.user_id = moved.user_id
WHERE (%(everything)s OR booked.transaction_id IS NOT NULL)
  AND ((coalesce(moved.round_up, 0), coalesce(moved.fee, 0), coalesce(moved.investable, 0), coalesce(moved.shares, 0))
          IS DISTINCT FROM (coalesce(booked.round_up, 0), coalesce(booked.fee, 0), coalesce(booked.invested, 0),
                            coalesce(booked.shares, 0))
       OR (booked.ticker IS NOT NULL AND booked.ticker IS DISTINCT FROM moved.ticker)
       OR moved.shares IS DISTINCT FROM kamioi_shares(moved.investable, moved.price_per_share))
  -- Bookings of an older purchase may be detached, unless the first is not; and so may the purchase itself.
  AND coalesce(
          moved.date,
          (SELECT keys.date FROM transaction_keys AS keys
           WHERE keys.user_id = booked.user_id AND keys.transaction_id = booked.transaction_id),
          'infinity'
      ) >= greatest(CASE WHEN booked.has_first THEN '-infinity' ELSE %(attached)s::timestamptz END,
                    CASE WHEN moved.id IS NULL THEN %(purchases)s::timestamptz ELSE '-infinity' END)
