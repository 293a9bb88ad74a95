-- One purchase after the other, in a window over a customer's purchases in order: each counts if it fits into the room
-- that the purchases before it left for its day, the month and the balance owed (NULL: no limit). One that does not fit
-- takes none, so a smaller one after it may fit.
-- state: the day, what counts of it, what counts altogether, and the limit that the last purchase exceeds: 0 none, 1 day,
-- 2 month, 3 balance owed. A property test compares the function with a model in Python.
CREATE FUNCTION kamioi_take_room(
    state numeric[], day date, amount numeric, day_room numeric, month_room numeric, owed_room numeric
) RETURNS numeric[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    this_day numeric := day - date '2000-01-01';
    of_day numeric := CASE WHEN state[1] = this_day THEN state[2] ELSE 0 END;
    exceeded numeric := CASE WHEN of_day + amount > day_room THEN 1 WHEN state[3] + amount > month_room THEN 2
                             WHEN state[3] + amount > owed_room THEN 3 ELSE 0 END;
BEGIN
    IF exceeded > 0 THEN
        amount := 0;
    END IF;
    RETURN ARRAY[this_day, of_day + amount, state[3] + amount, exceeded];
END $$;
CREATE AGGREGATE kamioi_exceeded_limit(date, numeric, numeric, numeric, numeric) (
    SFUNC = kamioi_take_room, STYPE = numeric[], INITCOND = '{0,0,0,0}'
);

INSERT INTO receivables (user_id, part, amount, month, month_amount)
SELECT user_id, part, sum(signed), CASE part WHEN 'booked' THEN this_month.first_day END,
       coalesce(sum(signed) FILTER (WHERE part = 'booked' AND date >= this_month.first_day), 0)
FROM (
    SELECT user_id, date, CASE WHEN kind IN ('collection', 'returned') THEN 'collected' ELSE 'booked' END AS part,
           CASE debit_account WHEN '11100' THEN amount ELSE -amount END AS signed
    FROM ledger_transfers WHERE user_id > 0 AND '11100' IN (debit_account, credit_account)
) AS entries
CROSS JOIN (SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date AS first_day) AS this_month
GROUP BY user_id, part, this_month.first_day;

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('limit_per_day', '50.00', 'decimal',
     'Dollars of round-ups and fees that the purchases of one day may set aside for a customer. Blank: no limit.', now()),
    ('limit_per_month', '500.00', 'decimal',
     'Dollars of round-ups and fees that are booked for a customer in a calendar month. Blank: no limit.', now()),
    ('limit_owed', '500.00', 'decimal', 'Dollars that a customer may owe. Blank: no limit.', now()),
    ('upload_confirm_purchases', '1000', 'decimal',
     'An upload with more purchases must be confirmed. Blank: no limit.', now()),
    ('upload_confirm_amount', '500.00', 'decimal',
     'An upload that would set aside more dollars must be confirmed. Blank: no limit.', now())
ON CONFLICT DO NOTHING;

-- reverse
DELETE FROM admin_settings
WHERE key IN ('limit_per_day', 'limit_per_month', 'limit_owed', 'upload_confirm_purchases', 'upload_confirm_amount');
DROP AGGREGATE kamioi_exceeded_limit(date, numeric, numeric, numeric, numeric);
DROP FUNCTION kamioi_take_room(numeric[], date, numeric, numeric, numeric, numeric);
