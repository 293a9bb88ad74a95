"""Ranges of rows into PostgreSQL over ADBC, each in one transaction with its progress, rejects and kept cells.

After a kill -9 a range is there completely or not at all, and the next run continues after it. Bulk tables are loaded
into `legacy_load_<table>`, partitioned by month and without indexes; `staged_months` attaches them to the real table.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Self

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from kamioi_site.db.locks import connection_string
from kamioi_site.db.partitions import MonthlyPartitionedModel
from transactions.legacy.load.progress import (
    SAVE_PROGRESS,
    KeptRow,
    Progress,
    RejectedRow,
    as_parameter,
    side_statements,
)
from transactions.legacy.load.staged_months import stage_name

Month = tuple[int, int]


class BulkLoader:
    """One connection that writes ranges of rows, each in its own transaction; not thread-safe."""

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._connection = adbc.connect(connection_string())
        self._months: dict[str, set[Month]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Any:
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def _execute(self, sql: str, *parameters: Any) -> None:
        # One cursor per statement: an ADBC statement that ingested columns keeps its options.
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def write(
        self,
        progress: Progress,
        *,
        statements: Iterable[tuple[str, Any]] = (),
        rejected: Sequence[RejectedRow] = (),
        kept: Sequence[KeptRow] = (),
    ) -> None:
        """Write one range in one transaction; each statement takes its parameters as JSON ($1)."""
        with self._transaction():
            self._write(progress, statements, rejected, kept)

    def write_bulk(
        self,
        progress: Progress,
        model: type[MonthlyPartitionedModel],
        rows: pa.Table,
        *,
        months: Iterable[Month],
        rejected: Sequence[RejectedRow],
        kept: Sequence[KeptRow],
        reject: Callable[[Sequence[tuple[int, str]]], list[RejectedRow]],
    ) -> None:
        """Write one range of a bulk table in one transaction.

        Rows that PostgreSQL refuses are found by bisection; `reject` turns (id, message) into rejected rows.
        """
        with self._transaction():
            if rows.num_rows:
                self._create_stage(model, months)
                refused = self._ingest(stage_name(model), rows)
                progress.rows_loaded -= len(refused)
                progress.rows_rejected += len(refused)
                rejected = [*rejected, *reject(refused)]
            self._write(progress, (), rejected, kept)

    def _write(
        self,
        progress: Progress,
        statements: Iterable[tuple[str, Any]],
        rejected: Sequence[RejectedRow],
        kept: Sequence[KeptRow],
    ) -> None:
        for sql, parameters in (*statements, *side_statements(self._run_id, rejected, kept)):
            self._execute(sql, as_parameter(parameters))
        self._execute(
            SAVE_PROGRESS,
            as_parameter(
                {
                    "table": progress.table,
                    "last_rowid": progress.last_rowid,
                    "rows_read": progress.rows_read,
                    "rows_loaded": progress.rows_loaded,
                    "rows_rejected": progress.rows_rejected,
                    "repairs": {kind: count for kind, count in progress.repairs.items() if count},
                    "complete": progress.complete,
                }
            ),
        )

    def _ingest(self, stage: str, rows: pa.Table) -> list[tuple[int, str]]:
        """Copy the rows; returns (id, message) of those that PostgreSQL refuses."""
        self._execute("SAVEPOINT legacy_range")
        try:
            with self._connection.cursor() as cursor:
                cursor.adbc_ingest(stage, rows, mode="append")
        except (adbc.DataError, adbc.IntegrityError, adbc.ProgrammingError) as error:
            self._execute("ROLLBACK TO SAVEPOINT legacy_range")
            self._execute("RELEASE SAVEPOINT legacy_range")
            if rows.num_rows == 1:
                return [(rows.column("id")[0].as_py(), _first_line(error))]
            half = rows.num_rows // 2
            return self._ingest(stage, rows.slice(0, half)) + self._ingest(stage, rows.slice(half))
        self._execute("RELEASE SAVEPOINT legacy_range")
        return []

    def _create_stage(self, model: type[MonthlyPartitionedModel], months: Iterable[Month]) -> None:
        stage, table = stage_name(model), model._meta.db_table
        if stage not in self._months:
            self._execute(
                f"CREATE TABLE IF NOT EXISTS {stage} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
                f"PARTITION BY RANGE ({model.partition_column})"
            )
            self._months[stage] = set()
        for year, month in set(months) - self._months[stage]:
            with self._connection.cursor() as cursor:
                cursor.execute(
                    "SELECT right(name, -length($1::text)), low::text, high::text "
                    "FROM kamioi_partition_of($1::text, make_date($2::int, $3::int, 1))",
                    (table, year, month),
                )
                suffix, low, high = cursor.fetchone()
            self._execute(
                f"CREATE TABLE IF NOT EXISTS {stage}{suffix} PARTITION OF {stage} "
                f"FOR VALUES FROM ('{low}') TO ('{high}')"
            )
            self._months[stage].add((year, month))


def _first_line(error: BaseException) -> str:
    text = str(error)
    return (text.partition("ERROR:")[2] or text).strip().splitlines()[0]
