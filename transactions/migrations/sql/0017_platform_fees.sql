-- The fee of a purchase: at most a share of its round-up, rounded down to the cent. As in transactions/rules/money.py.
CREATE FUNCTION kamioi_fee(round_up numeric, platform_fee numeric, max_share numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT least(platform_fee, trunc(round_up * max_share, 2))::numeric(14, 2)
$$;

INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('platform_fee_max_share', '0.25', 'decimal', 'The platform fee is at most this share (0 to 1) of the round-up.', now())
ON CONFLICT DO NOTHING;
UPDATE admin_settings SET description = 'Fee in dollars for each purchase that invests. A change applies from tomorrow on.'
WHERE key = 'platform_fee' AND description = 'Fee in dollars for each purchase that invests.';

-- The fee until the first change, and so for any earlier day.
INSERT INTO platform_fees (first_day, fee, max_share, set_at)
SELECT date '2000-01-01', CASE WHEN value ~ '^\d{1,3}(\.\d+)?$' THEN value::numeric ELSE 0.25 END, 0.25, now()
FROM admin_settings WHERE key = 'platform_fee'
UNION ALL SELECT date '2000-01-01', 0.25, 0.25, now() WHERE NOT EXISTS (SELECT FROM admin_settings WHERE key = 'platform_fee');

-- reverse
DELETE FROM admin_settings WHERE key = 'platform_fee_max_share';
DROP FUNCTION kamioi_fee(numeric, numeric, numeric);
