-- No posting into a closed month was written after it was closed. Clocks of servers may differ by a few minutes.
SELECT 'period', transfers.user_id, 'transfer ' || transfers.id,
       to_char(transfers.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
       'written before ' || to_char(transfers.date AT TIME ZONE 'UTC', 'YYYY-MM') || ' was closed'
FROM ledger_transfers AS transfers
LEFT JOIN period_closings AS closings
  ON closings.month = (date_trunc('month', transfers.date, 'UTC') AT TIME ZONE 'UTC')::date AND reopened_at IS NULL
WHERE transfers.created_at >= %(since)s
  AND transfers.date < (
      SELECT (max(month) + interval '1 month') AT TIME ZONE 'UTC' FROM period_closings WHERE reopened_at IS NULL
  )
  AND (closed_at IS NULL OR transfers.created_at > closed_at + interval '10 minutes')
