-- Fees and purchases of shares by booking day, less their contra entries.
SELECT day, coalesce(sum(n * rows) FILTER (WHERE base = 'fee'), 0)::bigint,
       coalesce(sum(n * amount) FILTER (WHERE base = 'fee'), 0.00),
       coalesce(sum(n * amount) FILTER (WHERE base = 'purchase'), 0.00)
FROM (
    SELECT day, rows, amount, CASE WHEN starts_with(kind, 'undo_') THEN -1 ELSE 1 END AS n,
           rtrim(CASE WHEN starts_with(kind, 'undo_') THEN substr(kind, 6) ELSE kind END, '_23456789') AS base
    FROM ledger_days WHERE day >= %(first)s AND day <= %(last)s
) AS bookings
WHERE base IN ('fee', 'purchase') GROUP BY day ORDER BY day
