-- Insert the entry and its ledger transfer together; a concurrent run finds the entry and inserts neither.
-- An entry of a month replaces the last reversed one. If that one is replaced, or none is reversed, the database refuses.
WITH charge AS (
    SELECT %(asset)s::bigint AS asset_id, %(period)s::date AS period, %(amount)s::numeric(14, 2) AS amount,
           nextval(pg_get_serial_sequence('ledger_transfers', 'id')) AS transfer_id
), entry AS (
    INSERT INTO amortization_entries (asset_id, period, amount, credit_account, transfer_id, created_at, replaces_id)
    SELECT asset_id, period, amount, %(credit)s, transfer_id, %(now)s,
           (SELECT max(reversed.id) FROM amortization_entries AS reversed
            JOIN amortization_reversals ON entry_id = reversed.id
            WHERE reversed.asset_id = charge.asset_id AND reversed.period = charge.period)
    FROM charge
    ON CONFLICT DO NOTHING
    RETURNING amount, transfer_id
)
INSERT INTO ledger_transfers (id, user_id, date, kind, debit_account, credit_account, amount, reference, created_at)
SELECT transfer_id, 0, %(date)s, 'amortization', %(debit)s, %(credit)s, amount, %(reference)s, %(now)s FROM entry
