-- The way over from the legacy system (transactions/legacy).

-- Rows and cells that have no home of their own: kind 'row' is a whole row of a table that Kamioi has no model for,
-- kind 'rest' the cells of a carried row that its new table does not hold.
CREATE TABLE legacy_rows (
    source_table varchar(100) NOT NULL,
    legacy_id varchar(100) NOT NULL,
    kind varchar(4) NOT NULL CHECK (kind IN ('row', 'rest')),
    data jsonb NOT NULL,
    PRIMARY KEY (source_table, legacy_id, kind)
);

-- Users and administrators of the legacy system, and who they are here.
CREATE TABLE legacy_ids (
    source_table varchar(100) NOT NULL,
    legacy_id bigint NOT NULL,
    user_id bigint NOT NULL,
    was_here boolean NOT NULL DEFAULT false, -- the account is older than the migration
    PRIMARY KEY (source_table, legacy_id)
);

-- How far each table is carried over. Written in the transaction that writes the rows.
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

-- Which file this database was filled from: one row.
CREATE TABLE legacy_source (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    path varchar(1000) NOT NULL,
    state jsonb NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT now()
);

-- Rows that Kamioi wrote and the legacy file has to be told of; filled while dual-write is on.
CREATE TABLE legacy_outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name varchar(40) NOT NULL,
    row_key varchar(100) NOT NULL,
    noted_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

-- Notes the key (its argument, an expression over the columns) of every row that a statement touched.
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
