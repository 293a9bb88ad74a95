-- A customer's ledger entries of a month by kind, less their contra entries.
SELECT coalesce(sum(signed) FILTER (WHERE base = 'round_up'), 0.00),
       coalesce(sum(signed) FILTER (WHERE base = 'fee'), 0.00),
       coalesce(sum(signed) FILTER (WHERE base = 'purchase'), 0.00),
       coalesce(sum(CASE WHEN '29900' IN (debit_account, credit_account)
                         THEN CASE credit_account WHEN '29900' THEN amount ELSE -amount END END)
                FILTER (WHERE base = 'rounding'), 0.00)
FROM (
    SELECT amount, debit_account, credit_account,
           CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END AS signed,
           rtrim(CASE WHEN starts_with(kind, 'undo_') THEN substr(kind, 6) ELSE kind END, '_23456789') AS base
    FROM ledger_transfers
    WHERE user_id = %(user)s AND date >= %(start)s AND date < %(end)s AND transaction_id IS NOT NULL
) AS month
