-- Purchases stay in the books; the bank's texts about them, which may contain names, are blanked.
WITH blanked AS (
    UPDATE transactions SET merchant = merchant_key, description = '', bank_account_id = NULL, bank_reference = NULL,
                            updated_at = %(now)s
    WHERE user_id = %(user)s
    RETURNING date, status, ticker
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, status, ticker, 0, 0, 0, 0, 0, count(*) FROM blanked GROUP BY 1, 2, 3
)
SELECT count(*) FROM blanked
