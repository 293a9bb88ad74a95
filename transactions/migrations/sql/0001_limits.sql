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

-- reverse
DROP AGGREGATE kamioi_exceeded_limit(date, numeric, numeric, numeric, numeric);
DROP FUNCTION kamioi_take_room(numeric[], date, numeric, numeric, numeric, numeric);
