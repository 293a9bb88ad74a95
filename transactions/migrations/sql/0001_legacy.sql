-- Tables of the migration from the legacy system (transactions/legacy).

-- Legacy data without a column in Kamioi. Kind 'row' is a complete row of a table that has no model here;
-- kind 'rest' holds the cells of a migrated row that its new table has no column for.
CREATE TABLE legacy_rows (
    source_table varchar(100) NOT NULL,
    legacy_id varchar(100) NOT NULL,
    kind varchar(4) NOT NULL CHECK (kind IN ('row', 'rest')),
    data jsonb NOT NULL,
    PRIMARY KEY (source_table, legacy_id, kind)
);

-- Legacy users and administrators, and their user ids in Kamioi.
CREATE TABLE legacy_ids (
    source_table varchar(100) NOT NULL,
    legacy_id bigint NOT NULL,
    user_id bigint NOT NULL,
    was_here boolean NOT NULL DEFAULT false, -- the account existed before the migration
    PRIMARY KEY (source_table, legacy_id)
);

-- Progress of each table, written in the same transaction as the rows.
CREATE TABLE legacy_progress (
    source_table varchar(100) PRIMARY KEY,
    last_rowid bigint NOT NULL DEFAULT 0,
    rows_read bigint NOT NULL DEFAULT 0,
    rows_loaded bigint NOT NULL DEFAULT 0,
    rows_rejected bigint NOT NULL DEFAULT 0,
    rows_left bigint NOT NULL DEFAULT 0,
    repairs jsonb NOT NULL DEFAULT '{}',
    complete boolean NOT NULL DEFAULT false,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now()
);

-- The file that this database was filled from: one row.
CREATE TABLE legacy_source (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    path varchar(1000) NOT NULL,
    state jsonb NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT now()
);

-- Rows to copy back to the legacy file; filled while dual-write is on.
CREATE TABLE legacy_outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name varchar(40) NOT NULL,
    row_key varchar(100) NOT NULL,
    noted_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

-- Record the key of every row that a statement changed. The argument is an expression over the columns.
CREATE FUNCTION legacy_outbox_note() RETURNS trigger LANGUAGE plpgsql AS $note$
BEGIN
    EXECUTE format('INSERT INTO legacy_outbox (table_name, row_key) SELECT %L, %s FROM changed', TG_TABLE_NAME, TG_ARGV[0]);
    RETURN NULL;
END
$note$;

-- reverse
DROP FUNCTION legacy_outbox_note() CASCADE;
DROP TABLE legacy_outbox;
DROP TABLE legacy_source;
DROP TABLE legacy_progress;
DROP TABLE legacy_ids;
DROP TABLE legacy_rows;
