-- Return every disagreement between holdings, ledger and transactions: (check, user, subject, found, expected).
-- Sums are computed from the rows themselves.
-- undone: bookings reversed by contra entries; few. No transaction includes them, holdings include both sides.
WITH undone AS MATERIALIZED (
    SELECT user_id, transaction_id, date, substr(kind, 6) AS kind, debit_account, credit_account, amount, ticker,
           shares, id
    FROM ledger_transfers WHERE starts_with(kind, 'undo_')
),
owned AS (
    SELECT user_id, ticker, sum(CASE WHEN starts_with(kind, 'undo_') THEN -shares ELSE shares END) AS shares,
           sum(CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END) AS cost
    FROM ledger_transfers WHERE shares IS NOT NULL GROUP BY user_id, ticker
)
SELECT 'holding' AS problem, coalesce(owned.user_id, holdings.user_id), coalesce(owned.ticker, holdings.ticker),
       format('%%s shares, $%%s', holdings.shares, holdings.cost_basis),
       format('%%s shares, $%%s', owned.shares, owned.cost)
FROM holdings FULL JOIN owned ON owned.user_id = holdings.user_id AND owned.ticker = holdings.ticker
WHERE (coalesce(owned.shares, 0), coalesce(owned.cost, 0))
      IS DISTINCT FROM (coalesce(holdings.shares, 0), coalesce(holdings.cost_basis, 0))

UNION ALL

SELECT 'transaction', coalesce(moved.user_id, booked.user_id),
       'transaction ' || coalesce(moved.id, booked.transaction_id),
       format('round-up %%s, fee %%s, invested %%s, %%s shares of %%s',
              booked.round_up, booked.fee, booked.invested, booked.shares, booked.ticker),
       format('round-up %%s, fee %%s, invested %%s, %%s shares of %%s',
              moved.round_up, moved.fee, moved.investable, moved.shares, moved.ticker)
FROM (
    SELECT id, user_id, date, round_up, fee, investable, ticker, shares FROM transactions
    WHERE status = 'completed' AND investable > 0 AND source <> 'legacy'
) AS moved
FULL JOIN (
    SELECT transaction_id, user_id, date,
           sum(amount) FILTER (WHERE base = 'round_up') AS round_up,
           sum(amount) FILTER (WHERE base = 'fee') AS fee,
           coalesce(sum(amount) FILTER (WHERE base = 'purchase'), 0)
             + coalesce(sum(amount) FILTER (WHERE base = 'rounding' AND credit_account = '29900'), 0)
             - coalesce(sum(amount) FILTER (WHERE base = 'rounding' AND debit_account = '29900'), 0) AS invested,
           max(ticker) AS ticker, sum(shares) AS shares
    FROM (
        -- The kind without the booking number.
        SELECT *, rtrim(kind, '_23456789') AS base FROM ledger_transfers
        WHERE transaction_id IS NOT NULL AND NOT starts_with(kind, 'undo_')
    ) AS bookings
    WHERE base IN ('round_up', 'fee', 'purchase', 'rounding')
      AND NOT EXISTS (
          SELECT 1 FROM undone
          WHERE undone.user_id = bookings.user_id AND undone.transaction_id = bookings.transaction_id
            AND undone.date = bookings.date AND undone.kind = bookings.kind
      )
    GROUP BY transaction_id, user_id, date
) AS booked ON booked.transaction_id = moved.id AND booked.user_id = moved.user_id AND booked.date = moved.date
WHERE (moved.round_up, moved.fee, moved.investable, coalesce(moved.shares, 0))
      IS DISTINCT FROM (booked.round_up, coalesce(booked.fee, 0), booked.invested, coalesce(booked.shares, 0))
   OR (booked.ticker IS NOT NULL AND booked.ticker IS DISTINCT FROM moved.ticker)

UNION ALL

SELECT 'account', transfers.user_id, 'transfer ' || transfers.id,
       transfers.debit_account || ' / ' || transfers.credit_account, 'accounts of the chart'
FROM ledger_transfers AS transfers
WHERE NOT EXISTS (SELECT FROM ledger_accounts WHERE number = transfers.debit_account)
   OR NOT EXISTS (SELECT FROM ledger_accounts WHERE number = transfers.credit_account)

UNION ALL

SELECT 'order', orders.user_id, 'order ' || orders.id, 'executed',
       'transaction ' || orders.transaction_id || ' completed'
FROM orders LEFT JOIN transactions AS bought
  ON bought.id = orders.transaction_id AND bought.user_id = orders.user_id AND bought.date = orders.transaction_date
WHERE orders.status = 'executed' AND bought.status IS DISTINCT FROM 'completed'

UNION ALL

SELECT 'contra', undone.user_id, 'transfer ' || undone.id, format('takes back %%s of $%%s', undone.kind, undone.amount),
       coalesce(format('%%s of $%%s', booking.kind, booking.amount), 'a booking')
FROM undone
LEFT JOIN ledger_transfers AS booking
  ON booking.user_id = undone.user_id AND booking.transaction_id = undone.transaction_id
 AND booking.date = undone.date AND booking.kind = undone.kind
WHERE (booking.debit_account, booking.credit_account, booking.amount, booking.ticker, booking.shares)
      IS DISTINCT FROM (undone.credit_account, undone.debit_account, undone.amount, undone.ticker, undone.shares)

UNION ALL

SELECT 'amortization', 0, 'asset ' || entry.asset_id || ' ' || to_char(entry.period, 'YYYY-MM'),
       coalesce(format('a transfer of $%%s', transfers.amount), 'no transfer'), format('an entry of $%%s', entry.amount)
FROM amortization_entries AS entry
LEFT JOIN ledger_transfers AS transfers ON transfers.id = entry.transfer_id AND transfers.kind = 'amortization'
WHERE entry.transfer_id IS NOT NULL AND transfers.amount IS DISTINCT FROM entry.amount
