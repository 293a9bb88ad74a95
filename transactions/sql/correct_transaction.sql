-- Replace the content of a row of a bank file, as long as nothing was bought for it and no merchant's decision waits for it.
-- Another amount fixes another round-up and fee.
WITH before AS MATERIALIZED (
    SELECT id, user_id, date, status, amount, round_up, fee, investable FROM transactions
    WHERE user_id = %(user)s AND id = %(id)s AND date = %(date)s
      AND status IN ('pending', 'not_listed', 'on_hold', 'awaiting_price', 'excluded')
    FOR UPDATE
),
{include storing_rule}
changed AS (
    UPDATE transactions
    SET amount = %(amount)s, total_debit = %(amount)s, merchant = %(merchant)s, merchant_key = %(merchant_key)s,
        description = %(description)s, bank_reference = %(reference)s, row_class = %(row_class)s,
        status = CASE %(row_class)s WHEN '' THEN 'pending' ELSE 'excluded' END, failure_reason = '', ticker = NULL,
        decision_id = NULL, round_up = 0, fee = 0, investable = 0, updated_at = %(now)s,
        round_up_cents = CASE WHEN transactions.amount = %(amount)s THEN round_up_cents ELSE fixed.round_up * 100 END,
        fee_cents = CASE WHEN transactions.amount = %(amount)s THEN fee_cents
                         ELSE kamioi_fee(fixed.round_up, rule.fee, rule.max_share) * 100 END
    FROM before
    CROSS JOIN rule CROSS JOIN LATERAL (
        SELECT kamioi_round_up(%(amount)s, rule.round_up_enabled, rule.round_up_rule, rule.round_up_amount)
    ) AS fixed (round_up)
    WHERE transactions.id = before.id AND transactions.user_id = before.user_id AND transactions.date = before.date
    RETURNING transactions.date, transactions.amount, transactions.status, before.status AS before_status,
              before.amount AS before_amount, before.round_up, before.fee, before.investable
),
counted AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, side.n, side.n * side.amount,
           side.old * round_up, side.old * fee, side.old * investable, greatest(side.n, 0)
    FROM changed CROSS JOIN LATERAL (
        VALUES (-1, -1, before_status, before_amount), (1, 0, changed.status, changed.amount)
    ) AS side (n, old, status, amount)
)
SELECT count(*) FROM changed
