DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('kamioi_create_partition(text, date)'::regprocedure),
                    'EXISTS (SELECT FROM %I', 'EXISTS (SELECT 1 FROM %I');
END
$$;

-- reverse
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('kamioi_create_partition(text, date)'::regprocedure),
                    'EXISTS (SELECT 1 FROM %I', 'EXISTS (SELECT FROM %I');
END
$$;
