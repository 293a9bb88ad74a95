-- The money rules of transactions/rules/money.py in SQL, for set-based statements.
-- A property test compares the two.

-- Shares for an amount of money, to 8 places, rounded half-even. div() and the remainder are exact.
CREATE FUNCTION kamioi_shares(investable numeric, price numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ((d.q + CASE
        WHEN 2 * (investable * 100000000 - d.q * price) > price THEN 1
        WHEN 2 * (investable * 100000000 - d.q * price) = price AND mod(d.q, 2) = 1 THEN 1
        ELSE 0 END) / 100000000)::numeric(20, 8)
    FROM (SELECT div(investable * 100000000, price)) AS d (q)
$$;

-- The round-up of a purchase under the user's rule; zero for refunds and when round-ups are off.
CREATE FUNCTION kamioi_round_up(amount numeric, enabled boolean, rule text, flat integer) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN NOT enabled OR amount <= 0 THEN 0
        WHEN rule = 'next_dollar' THEN ceil(amount) - amount
        ELSE flat END::numeric(14, 2)
$$;

-- The fee of a purchase: at most a share of its round-up, rounded down to the cent. As in transactions/rules/money.py.
CREATE FUNCTION kamioi_fee(round_up numeric, platform_fee numeric, max_share numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT least(platform_fee, trunc(round_up * max_share, 2))::numeric(14, 2)
$$;

-- reverse
DROP FUNCTION kamioi_fee(numeric, numeric, numeric);
DROP FUNCTION kamioi_round_up(numeric, boolean, text, integer);
DROP FUNCTION kamioi_shares(numeric, numeric);
