-- Holdings beside the customers' shares in the ledger, and the whole ledger; each table is read once.
SELECT *
FROM (
    SELECT count(*) FILTER (WHERE shares > 0), coalesce(sum(cost_basis), 0.00) FROM holdings
) AS held,
(
    SELECT count(*) FILTER (WHERE shares IS NOT NULL AND user_id > 0),
           coalesce(sum(CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END)
                    FILTER (WHERE shares IS NOT NULL AND user_id > 0), 0.00),
           count(*), coalesce(sum(amount), 0.00)
    FROM ledger_transfers
) AS booked
