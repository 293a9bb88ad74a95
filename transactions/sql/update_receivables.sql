-- receivable_updates: what `charged` adds to the balances owed, and to what was booked this month.
receivable_updates AS (
    INSERT INTO receivables (user_id, part, amount, month, month_amount)
    SELECT user_id, 'booked', amount, date_trunc('month', %(now)s::timestamptz AT TIME ZONE 'UTC')::date, amount
    FROM charged
    ON CONFLICT (user_id, part) DO UPDATE SET
        amount = receivables.amount + excluded.amount,
        month = excluded.month,
        month_amount = CASE receivables.month WHEN excluded.month THEN receivables.month_amount ELSE 0 END
            + excluded.month_amount
),
