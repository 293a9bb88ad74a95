"""Into PostgreSQL: every range of rows in one transaction with what is known of it.

Rules that hold here:

* A `Loader` has one connection. `Loader.write` puts rows, rejects, kept cells and the progress of the table into one
  transaction: after a kill -9 either all of a range is there or nothing, and the next run goes on behind it.
* The two big tables are loaded into `legacy_load_<table>`, split by month and without indexes. `finish` builds the
  indexes of each month and attaches it to the real table in one step; a month that has rows already takes the new
  ones in. What is not finished yet nobody sees.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import psycopg2.extensions
import pyarrow as pa
from django.db import connection
from psqlextra.partitioning.constants import AUTO_PARTITIONED_COMMENT

from kamioi_site.db.partitions import MonthlyPartitionedModel
from transactions.legacy.load.migration_lock import MIGRATION_LOCK, connection_string

INDEX_WORKERS: Final = 2

Month = tuple[int, int]


@dataclass(slots=True)
class Progress:
    """How far one table is carried over. `repairs` counts by kind."""

    table: str
    last_rowid: int = 0
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    rows_left: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    complete: bool = False


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row or the rest of one for `legacy_rows`."""

    table: str
    legacy_id: str
    kind: str
    data: Mapping[str, Any]

    def as_item(self) -> dict[str, Any]:
        """As `ADD_KEPT` reads it."""
        return {"t": self.table, "i": self.legacy_id, "k": self.kind, "d": self.data}


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row for `migration_rejects`."""

    table: str
    legacy_id: str
    reason: str
    row: Mapping[str, Any]

    def as_item(self, run_id: int) -> dict[str, Any]:
        """As `ADD_REJECTS` reads it."""
        return {"u": run_id, "t": self.table, "i": self.legacy_id, "w": self.reason, "r": self.row}


ADD_REJECTS: Final = """
INSERT INTO migration_rejects (run_id, table_name, legacy_id, row, reason, created_at)
SELECT (item->>'u')::bigint, item->>'t', item->>'i', item->'r', item->>'w', now()
FROM jsonb_array_elements(($1::text)::jsonb) AS items (item)
"""
ADD_KEPT: Final = """
INSERT INTO legacy_rows (source_table, legacy_id, kind, data)
SELECT item->>'t', item->>'i', item->>'k', item->'d' FROM jsonb_array_elements(($1::text)::jsonb) AS items (item)
ON CONFLICT (source_table, legacy_id, kind) DO UPDATE SET data = legacy_rows.data || excluded.data
"""


def kept_row_items(kept: Iterable[KeptRow]) -> list[dict[str, Any]]:
    """As `ADD_KEPT` reads them: what is kept of one row is one item."""
    items: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in kept:
        item = items.setdefault((one.table, one.legacy_id, one.kind), one.as_item())
        item["d"] = {**item["d"], **one.data}
    return list(items.values())


def get_progress() -> dict[str, Progress]:
    """How far every table is, as committed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT source_table, last_rowid, rows_read, rows_loaded, rows_rejected, rows_left, repairs, complete "
            "FROM legacy_progress"
        )
        names = [column.name for column in cursor.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in found:
        repairs = row["repairs"]
        row["repairs"] = Counter(repairs if isinstance(repairs, dict) else json.loads(repairs))
        row["table"] = row.pop("source_table")
    return {row["table"]: Progress(**row) for row in found}


class Loader:
    """One connection that writes ranges of rows, each in a transaction of its own. Not for two threads at once."""

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._dsn = connection_string()
        self._connection = adbc.connect(self._dsn)
        self._cursor = self._connection.cursor()
        self._stages: dict[str, set[Month]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; what was not committed is gone."""
        self._cursor.close()
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Any:
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def _run(self, sql: str, *parameters: Any) -> None:
        # One cursor per statement: an ADBC statement that took in columns keeps its options.
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def write(
        self,
        progress: Progress,
        *,
        rows: pa.Table | None = None,
        months: Iterable[Month] = (),
        model: type[MonthlyPartitionedModel] | None = None,
        statements: Sequence[tuple[str, Any]] = (),
        rejected: Sequence[RejectedRow] = (),
        kept: Sequence[KeptRow] = (),
        refused: Callable[[Sequence[tuple[int, str]]], list[RejectedRow]] | None = None,
    ) -> None:
        """One range: `rows` go to the stage of `model`, `statements` run with their JSON parameter ($1), all or nothing.

        Rows that PostgreSQL does not take are found by halving, and `refused` makes rejects of (id, message).
        """
        with self._transaction():
            if rows is not None and model is not None and rows.num_rows:
                self._stage(model, months)
                refusals = self._ingest(stage_name(model), rows)
                if refusals and refused:
                    rejected = [*rejected, *refused(refusals)]
                    progress.rows_loaded -= len(refusals)
                    progress.rows_rejected += len(refusals)
            for sql, parameter in statements:
                self._run(sql, as_json(parameter))
            if rejected:
                self._run(ADD_REJECTS, as_json([reject.as_item(self._run_id) for reject in rejected]))
            if kept:
                self._run(ADD_KEPT, as_json(kept_row_items(kept)))
            self._save(progress)

    def _ingest(self, stage: str, rows: pa.Table) -> list[tuple[int, str]]:
        """Copy the rows; returns (id, message) of those that are refused."""
        self._run("SAVEPOINT legacy_range")
        try:
            with self._connection.cursor() as cursor:
                cursor.adbc_ingest(stage, rows, mode="append")
        except (adbc.DataError, adbc.IntegrityError, adbc.ProgrammingError) as error:
            self._run("ROLLBACK TO SAVEPOINT legacy_range")
            self._run("RELEASE SAVEPOINT legacy_range")
            if rows.num_rows == 1:
                return [(rows.column("id")[0].as_py(), _first_line(error))]
            half = rows.num_rows // 2
            return self._ingest(stage, rows.slice(0, half)) + self._ingest(stage, rows.slice(half))
        self._run("RELEASE SAVEPOINT legacy_range")
        return []

    def _save(self, progress: Progress) -> None:
        self._run(
            "INSERT INTO legacy_progress (source_table, last_rowid, rows_read, rows_loaded, rows_rejected, rows_left, "
            "repairs, complete) SELECT item->>'t', (item->>'l')::bigint, (item->>'r')::bigint, (item->>'w')::bigint, "
            "(item->>'x')::bigint, (item->>'b')::bigint, item->'p', (item->>'c')::boolean "
            "FROM (SELECT ($1::text)::jsonb) AS items (item) ON CONFLICT (source_table) DO UPDATE SET "
            "last_rowid = excluded.last_rowid, rows_read = excluded.rows_read, rows_loaded = excluded.rows_loaded, "
            "rows_rejected = excluded.rows_rejected, rows_left = excluded.rows_left, repairs = excluded.repairs, "
            "complete = excluded.complete, updated_at = now()",
            as_json(
                {
                    "t": progress.table,
                    "l": progress.last_rowid,
                    "r": progress.rows_read,
                    "w": progress.rows_loaded,
                    "x": progress.rows_rejected,
                    "b": progress.rows_left,
                    "c": progress.complete,
                    "p": {kind: count for kind, count in progress.repairs.items() if count},
                }
            ),
        )

    def _stage(self, model: type[MonthlyPartitionedModel], months: Iterable[Month]) -> None:
        stage, table = stage_name(model), model._meta.db_table
        if stage not in self._stages:
            self._run(
                f"CREATE TABLE IF NOT EXISTS {stage} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
                f"PARTITION BY RANGE ({model.partition_column})"
            )
            self._stages[stage] = set()
        for year, month in set(months) - self._stages[stage]:
            following = (year + 1, 1) if month == 12 else (year, month + 1)
            self._run(
                f"CREATE TABLE IF NOT EXISTS {stage}_y{year}m{month:02d} PARTITION OF {stage} "
                f"FOR VALUES FROM ('{year}-{month:02d}-01+00') TO ('{following[0]}-{following[1]:02d}-01+00')"
            )
            self._stages[stage].add((year, month))


def as_json(value: Any) -> str:
    """The value as PostgreSQL's jsonb takes it."""
    # PostgreSQL's jsonb has no NUL and no lone surrogates.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace").decode("utf-8")


def _first_line(error: BaseException) -> str:
    text = str(error)
    return (text.partition("ERROR:")[2] or text).strip().splitlines()[0]


def stage_name(model: type[MonthlyPartitionedModel]) -> str:
    """Where rows of the table wait for `finish`."""
    return f"legacy_load_{model._meta.db_table}"


# --- finish ---------------------------------------------------------------------------------------------------------


def staged_months(model: type[MonthlyPartitionedModel]) -> list[str]:
    """Partitions of the stage, in order; none when nothing waits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = to_regclass(%s) ORDER BY 1",
            [stage_name(model)],
        )
        return [row[0] for row in cursor.fetchall()]


def attach_staged_months(model: type[MonthlyPartitionedModel], on_progress: Callable[[str], None] | None = None) -> int:
    """Give every staged month its indexes and make it part of the real table. Returns how many there were.

    Killed in between, it goes on with the months that are left: each one changes hands in one transaction.
    """
    months = staged_months(model)
    tell = threading.Lock()

    def one(staged: str) -> None:
        target = psycopg2.connect(connection_string())
        try:
            _finish_month(target, model, staged)
        finally:
            target.close()
        if on_progress:
            with tell:
                on_progress(staged)

    with ThreadPoolExecutor(INDEX_WORKERS) as pool:
        list(pool.map(one, months))
    if months:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {stage_name(model)}")
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{model._meta.db_table}', 'id'), "
                f"greatest((SELECT max(id) FROM {model._meta.db_table}), "
                f"(SELECT last_value FROM {_sequence(model._meta.db_table)})))"
            )
    return len(months)


def _sequence(table: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
        return str(cursor.fetchone()[0])


def _finish_month(target: Any, model: type[MonthlyPartitionedModel], staged: str) -> None:
    table = model._meta.db_table
    name = table + staged.removeprefix(stage_name(model))
    with target, target.cursor() as cursor:
        cursor.execute("SET LOCAL maintenance_work_mem = '128MB'; SET LOCAL max_parallel_maintenance_workers = 0")
        # A month that has rows already takes ours in with the indexes it has; else ours gets them before it moves.
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if not cursor.fetchone()[0] or _is_empty(cursor, name):
            _build_indexes(cursor, table, staged)
    with target, target.cursor() as cursor:
        # One month after the other changes hands: detaching locks the whole stage.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK + 1])
        cursor.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = %s::regclass", [staged])
        bounds = cursor.fetchone()[0]
        cursor.execute(f"ALTER TABLE {stage_name(model)} DETACH PARTITION {staged}")
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
            if not _is_empty(cursor, name):
                columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
                cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged}")
                cursor.execute(f"DROP TABLE {staged}")
                return
            cursor.execute(f"DROP TABLE {name}")
        _rename_indexes(cursor, staged, name)
        cursor.execute(f"ALTER TABLE {staged} RENAME TO {name}")
        cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")
        cursor.execute(f"COMMENT ON TABLE {name} IS %s", [AUTO_PARTITIONED_COMMENT])


def _is_empty(cursor: Any, table: str) -> bool:
    cursor.execute(f"SELECT NOT EXISTS (SELECT FROM {table})")
    return bool(cursor.fetchone()[0])


def _rename_indexes(cursor: Any, staged: str, name: str) -> None:
    """Names after the month's own; the empty month that had them is gone by now."""
    cursor.execute(
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = %s::regclass",
        [staged],
    )
    for (index,) in cursor.fetchall():
        if index.startswith(staged):
            cursor.execute(f"ALTER INDEX {index} RENAME TO {name}{index.removeprefix(staged)}")


def _build_indexes(cursor: Any, table: str, staged: str) -> None:
    """The indexes of the parent on a staged month; done before is not done again."""
    cursor.execute("SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass", [staged])
    if cursor.fetchone()[0]:
        return  # built by a run that was killed afterwards: all of them, in one transaction
    cursor.execute(
        "SELECT relname, pg_get_indexdef(indexrelid), pg_get_constraintdef(pg_constraint.oid) FROM pg_index "
        "JOIN pg_class ON pg_class.oid = indexrelid LEFT JOIN pg_constraint ON conindid = indexrelid "
        "AND contype IN ('p', 'u') AND conrelid = indrelid WHERE indrelid = %s::regclass ORDER BY indexrelid",
        [table],
    )
    for parent, definition, constraint in cursor.fetchall():
        if constraint:
            cursor.execute(f"ALTER TABLE {staged} ADD {constraint}")
            continue
        suffix = parent.removeprefix(f"idx_{table}_")
        made = f"INDEX {staged}_{suffix}_idx ON {staged} "
        cursor.execute(re.sub(r"INDEX \S+ ON (ONLY )?\S+ ", lambda _, made=made: made, definition, count=1))  # type: ignore[misc]
