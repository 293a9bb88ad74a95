-- Holdings beside the ledger, each read once and whole.
SELECT (SELECT count(*) FROM holdings WHERE shares > 0), (SELECT coalesce(sum(cost_basis), 0.00) FROM holdings),
       count(*) FILTER (WHERE shares IS NOT NULL),
       coalesce(sum(CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END)
                FILTER (WHERE shares IS NOT NULL), 0.00),
       count(*), coalesce(sum(amount), 0.00)
FROM ledger_transfers
