-- The partition that a day belongs to. A year before last year is one partition, unless it already has months.
CREATE FUNCTION kamioi_partition_of(parent text, day date, OUT name text, OUT low timestamptz, OUT high timestamptz)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    year text := format('%s_y%s', parent, to_char(day, 'YYYY'));
    yearly boolean := extract(year FROM day) < extract(year FROM now()) - 1 AND NOT EXISTS (
        SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = to_regclass(quote_ident(parent)) AND starts_with(relname, year || 'm')
    );
BEGIN
    name := CASE WHEN yearly THEN year ELSE year || to_char(day, '"m"MM') END;
    low := date_trunc(CASE WHEN yearly THEN 'year' ELSE 'month' END, day::timestamptz);
    high := low + CASE WHEN yearly THEN interval '1 year' ELSE interval '1 month' END;
END
$$;

-- Create the partition of a day, and move its rows out of the default partition, which must be detached for that.
-- Returns the name, or NULL if the table exists. It runs as the owner, so it accepts only tables partitioned by time and
-- days that Kamioi stores, and chooses the name and the bounds itself.
CREATE FUNCTION kamioi_create_partition(parent text, day date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    target record;
    rest text := parent || '_default';
    within text;
    stray boolean;
BEGIN
    SELECT format('%I >= $1 AND %I < $2', attname, attname) INTO within
    FROM pg_partitioned_table JOIN pg_class ON pg_class.oid = partrelid
    JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
    WHERE relname = parent AND relnamespace = 'public'::regnamespace AND partstrat = 'r'
      AND atttypid = 'timestamptz'::regtype;
    IF within IS NULL OR day IS NULL OR NOT day BETWEEN '1990-01-01' AND now() + interval '2 years' THEN
        RAISE EXCEPTION 'no partition of % for %', parent, day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(7203001); -- two workers must not create the same month
    SELECT * INTO target FROM kamioi_partition_of(parent, day);
    IF to_regclass(quote_ident(target.name)) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE %s)', rest, within) INTO stray USING target.low, target.high;
    IF stray THEN
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, rest);
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                   target.name, parent, target.low, target.high);
    IF stray THEN
        -- Identity columns refuse explicit values only when GENERATED ALWAYS; ours are BY DEFAULT.
        EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %s RETURNING *) INSERT INTO %I SELECT * FROM moved',
                       rest, within, parent) USING target.low, target.high;
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I DEFAULT', parent, rest);
    END IF;
    RETURN target.name;
END
$$;
REVOKE EXECUTE ON FUNCTION kamioi_create_partition(text, date) FROM PUBLIC;

-- reverse
DROP FUNCTION kamioi_create_partition(text, date);
DROP FUNCTION kamioi_partition_of(text, date);
