-- Return every disagreement between holdings, ledger and transactions: (check, user, subject, found, expected).
-- Sums are computed from the rows themselves.
-- undone: bookings reversed by contra entries; few.
WITH undone AS MATERIALIZED (
    SELECT user_id, transaction_id, substr(kind, 6) AS kind, amount, ticker, shares, id
    FROM ledger_transfers WHERE starts_with(kind, 'undo_')
),
owned AS (
    SELECT user_id, ticker, sum(direction * shares) AS shares, sum(direction * amount) AS cost
    FROM (
        SELECT user_id, ticker, shares, amount,
               CASE WHEN credit_account = '22100' OR debit_account = '12100' THEN 1 ELSE -1 END AS direction
        FROM ledger_transfers WHERE shares IS NOT NULL
    ) AS with_shares
    GROUP BY user_id, ticker
),
booked AS (
    SELECT transaction_id, user_id,
           coalesce(sum(signed) FILTER (WHERE base = 'round_up'), 0) AS round_up,
           coalesce(sum(signed) FILTER (WHERE base = 'fee'), 0) AS fee,
           coalesce(sum(signed) FILTER (WHERE base = 'purchase'), 0) AS invested,
           coalesce(sum(sign(signed) * shares), 0) AS shares,
           max(ticker) FILTER (WHERE NOT is_undone) AS ticker
    FROM (
        -- base: the kind without the booking number.
        SELECT transaction_id, user_id, rtrim(kind, '_23456789') AS base, amount AS signed, shares, ticker,
               EXISTS (
                   SELECT FROM undone WHERE undone.user_id = ledger_transfers.user_id
                   AND undone.transaction_id = ledger_transfers.transaction_id AND undone.kind = ledger_transfers.kind
               ) AS is_undone
        FROM ledger_transfers WHERE transaction_id IS NOT NULL AND NOT starts_with(kind, 'undo_')
        UNION ALL
        SELECT transaction_id, user_id, rtrim(kind, '_23456789'), -amount, shares, ticker, true FROM undone
    ) AS bookings
    GROUP BY transaction_id, user_id
)
SELECT 'holding' AS problem, coalesce(owned.user_id, holdings.user_id), coalesce(owned.ticker, holdings.ticker),
       format('%%s shares, $%%s', holdings.shares, holdings.cost_basis),
       format('%%s shares, $%%s', owned.shares, owned.cost)
FROM (
    SELECT user_id, ticker, shares, cost_basis FROM holdings
    UNION ALL
    SELECT 0, ticker, shares, cost_basis FROM broker_positions
) AS holdings
FULL JOIN owned ON owned.user_id = holdings.user_id AND owned.ticker = holdings.ticker
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
    SELECT id, user_id, round_up, fee, investable, ticker, shares FROM transactions
    WHERE status = 'completed' AND investable > 0 AND source <> 'legacy'
) AS moved
FULL JOIN booked ON booked.transaction_id = moved.id AND booked.user_id = moved.user_id
WHERE (coalesce(moved.round_up, 0), coalesce(moved.fee, 0), coalesce(moved.investable, 0), coalesce(moved.shares, 0))
      IS DISTINCT FROM (coalesce(booked.round_up, 0), coalesce(booked.fee, 0), coalesce(booked.invested, 0),
                        coalesce(booked.shares, 0))
   OR (booked.ticker IS NOT NULL AND booked.ticker IS DISTINCT FROM moved.ticker)

UNION ALL

-- The money of a customer that is not invested: none, as every round-up buys shares.
SELECT 'funds', user_id, 'account 20100', format('$%%s', balance), format('$%%s', 0.00)
FROM (
    SELECT user_id, sum(CASE '20100' WHEN credit_account THEN amount ELSE -amount END) AS balance
    FROM ledger_transfers WHERE user_id > 0 AND '20100' IN (debit_account, credit_account) GROUP BY user_id
) AS funds
WHERE balance <> 0

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
  ON booking.user_id = undone.user_id AND booking.transaction_id = undone.transaction_id AND booking.kind = undone.kind
WHERE (booking.amount, booking.ticker, booking.shares)
      IS DISTINCT FROM (undone.amount, undone.ticker, undone.shares)

UNION ALL

SELECT 'amortization', 0, 'asset ' || entry.asset_id || ' ' || to_char(entry.period, 'YYYY-MM'),
       coalesce(format('a transfer of $%%s', transfers.amount), 'no transfer'), format('an entry of $%%s', entry.amount)
FROM amortization_entries AS entry
LEFT JOIN ledger_transfers AS transfers ON transfers.id = entry.transfer_id AND transfers.kind = 'amortization'
WHERE entry.transfer_id IS NOT NULL AND transfers.amount IS DISTINCT FROM entry.amount
