-- The ledger entries of a customer's purchases of a month by kind, less their contra entries; whenever they were booked.
SELECT coalesce(sum(signed) FILTER (WHERE base = 'round_up'), 0.00),
       coalesce(sum(signed) FILTER (WHERE base = 'fee'), 0.00),
       coalesce(sum(signed) FILTER (WHERE base = 'purchase'), 0.00)
FROM (
    SELECT CASE WHEN starts_with(kind, 'undo_') THEN -entry.amount ELSE entry.amount END AS signed,
           rtrim(CASE WHEN starts_with(kind, 'undo_') THEN substr(kind, 6) ELSE kind END, '_23456789') AS base
    FROM ledger_transfers AS entry
    JOIN transactions ON transactions.user_id = entry.user_id AND transactions.id = entry.transaction_id
    WHERE entry.user_id = %(user)s AND transactions.user_id = %(user)s
      AND transactions.date >= %(start)s AND transactions.date < %(end)s
) AS month
