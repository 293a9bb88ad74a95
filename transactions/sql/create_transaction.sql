-- Insert one purchase, its key and the change of its day's totals. Returns no row if the key exists. It is held if a
-- bank file has the same purchase that no other one of this source repeats, as in `find_possible_duplicates`.
WITH fresh AS (
    INSERT INTO transaction_keys (user_id, idempotency_key, transaction_id, date, fingerprint)
    VALUES (%(user)s, %(key)s, nextval(pg_get_serial_sequence('transactions', 'id')), %(date)s, %(fingerprint)s)
    ON CONFLICT (user_id, idempotency_key) DO NOTHING
    RETURNING transaction_id
),
near AS MATERIALIZED (
    SELECT id, (date AT TIME ZONE 'UTC')::date - (%(date)s AT TIME ZONE 'UTC')::date AS shift, merchant_key, source,
           status, related_id, status = 'on_hold' AND failure_reason = %(reason)s OR row_class = 'duplicate' AS is_duplicate
    FROM transactions
    WHERE user_id = %(user)s AND amount = %(amount)s
      AND date >= %(date)s - interval '3 days' AND date < %(date)s + interval '4 days'
),
other AS (
    SELECT id FROM near
    WHERE shift BETWEEN -1 AND 1 AND source <> %(source)s AND NOT is_duplicate
      AND status NOT IN ('excluded', 'undone') AND kamioi_similar_merchants(merchant_key, %(merchant_key)s)
      AND NOT EXISTS (
          SELECT FROM near AS link
          WHERE link.related_id = near.id AND link.is_duplicate AND link.source = %(source)s
      )
    ORDER BY merchant_key <> %(merchant_key)s, abs(shift), id
    LIMIT 1
),
decided AS (
    SELECT transaction_id, other.id AS related_id, CASE WHEN other.id IS NULL THEN 'pending' ELSE 'on_hold' END AS status
    FROM fresh LEFT JOIN other ON true
),
{include storing_rule}
counted AS (
    INSERT INTO transaction_deltas (day, status, rows, amount, round_up, fee, investable, user_id, writes)
    SELECT (%(date)s AT TIME ZONE 'UTC')::date, status, 1, %(amount)s, 0, 0, 0, %(user)s, 1 FROM decided
)
INSERT INTO transactions (id, user_id, date, merchant, merchant_key, amount, total_debit, category, description,
                          status, failure_reason, related_id, source, round_up_cents, fee_cents, priority, created_at,
                          updated_at)
SELECT transaction_id, %(user)s, %(date)s, %(merchant)s, %(merchant_key)s, %(amount)s, %(amount)s, %(category)s,
       %(description)s, status, CASE status WHEN 'on_hold' THEN %(reason)s ELSE '' END, related_id, %(source)s,
       round_up * 100, kamioi_fee(round_up, rule.fee, rule.max_share) * 100, 0, %(now)s, %(now)s
FROM decided
CROSS JOIN rule CROSS JOIN LATERAL (
    SELECT kamioi_round_up(%(amount)s, rule.round_up_enabled, rule.round_up_rule, rule.round_up_amount)
) AS fixed (round_up)
RETURNING id, status
