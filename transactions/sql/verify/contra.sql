-- A contra entry reverses a posting, completely.
SELECT 'contra', undone.user_id, 'transfer ' || undone.id, format('takes back %%s of $%%s', undone.kind, undone.amount),
       coalesce(format('%%s of $%%s', booking.kind, booking.amount), 'a booking')
FROM (
    SELECT user_id, transaction_id, substr(kind, 6) AS kind, amount, ticker, shares, id
    FROM ledger_transfers WHERE created_at >= %(since)s AND starts_with(kind, 'undo_')
) AS undone
LEFT JOIN ledger_transfers AS booking
  ON booking.user_id = undone.user_id AND booking.transaction_id = undone.transaction_id AND booking.kind = undone.kind
WHERE (booking.amount, booking.ticker, booking.shares)
      IS DISTINCT FROM (undone.amount, undone.ticker, undone.shares)
  AND NOT (booking.id IS NULL AND EXISTS (  -- the booking may be detached
      SELECT FROM transaction_keys AS keys
      WHERE keys.user_id = undone.user_id AND keys.transaction_id = undone.transaction_id
        AND keys.date < %(attached)s
  ))
