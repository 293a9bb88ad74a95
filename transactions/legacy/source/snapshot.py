"""One commit of the legacy SQLite file, read over two connections: `sqlite3` for rows and ADBC for whole columns.

The file is opened read-only. Columns are found by name in `PRAGMA table_info`: every legacy database has a different
set of them. Every problem with the file is reported as a `LegacySourceError` of one sentence.
"""

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa

from transactions.legacy.source.sqlite_file import (
    LegacySourceError,
    LegacyTable,
    check_file,
    open_read_only,
    quoted,
    source_error,
)

_MAX_ATTEMPTS: Final = 200


class Snapshot:
    """One commit of the file, for as long as the `with` block lasts.

    Two connections see the same commit when no other connection committed between their first reads. A third connection
    watches `PRAGMA data_version`, which changes with every commit of another connection; when it changed, both start
    again. In WAL mode readers and writers do not block each other. A file that is not in WAL mode cannot be written to
    while it is read (see `is_wal`).
    """

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.path = path
        self._rows_lock = threading.Lock()
        with self._errors():
            self._open()
            self.is_wal = self.sql.execute("PRAGMA journal_mode").fetchone()[0] == b"wal"
            self.tables = {table.name: table for table in self._read_tables()}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, adbc.Error) as error:
            raise source_error(self.path, error) from error

    def _open(self) -> None:
        watch = open_read_only(self.path)
        try:
            for _ in range(_MAX_ATTEMPTS):
                before = watch.execute("PRAGMA data_version").fetchone()[0]
                self.sql = open_read_only(self.path)
                self.sql.execute("BEGIN")
                self.sql.execute("SELECT count(*) FROM sqlite_master").fetchone()
                self._arrow = adbc.connect(f"{self.path.resolve().as_uri()}?mode=ro")  # begins a transaction itself
                self._cursor = self._arrow.cursor()
                self._cursor.execute("SELECT count(*) FROM sqlite_master")
                self._cursor.fetchone()
                if watch.execute("PRAGMA data_version").fetchone()[0] == before:
                    return
                self.close()
        finally:
            watch.close()
        raise LegacySourceError(f"{self.path}: the file is written to without a pause; try again.")

    def close(self) -> None:
        self._cursor.close()
        self._arrow.close()
        self.sql.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_tables(self) -> Iterator[LegacyTable]:
        tables = self.sql.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "AND name NOT LIKE 'kamioi\\_%' ESCAPE '\\' ORDER BY 1"
        ).fetchall()
        for raw_name, sql in tables:
            name = raw_name.decode()
            info = self.sql.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
            key = sorted((row[5], row[1].decode()) for row in info if row[5])
            yield LegacyTable(
                name=name,
                columns=tuple(row[1].decode() for row in info),
                types=tuple(row[2].decode().upper() for row in info),
                key=tuple(column for _, column in key),
                has_rowid=not re.search(rb"WITHOUT\s+ROWID|^\s*CREATE\s+VIRTUAL", sql or b"", re.IGNORECASE),
            )

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; text as bytes."""
        with self._errors(), self._rows_lock:
            return self.sql.execute(sql, parameters).fetchall()

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {quoted(table)}")[0][0])

    def last_rowid(self, table: str) -> int:
        """Return the largest row number; 0 for an empty table."""
        return int(self.rows(f"SELECT coalesce(max(rowid), 0) FROM {quoted(table)}")[0][0])

    def next_rowid(self, table: str, after: int) -> int | None:
        """Return the first row number after `after`; None when there is none."""
        rowid: int | None = self.rows(f"SELECT min(rowid) FROM {quoted(table)} WHERE rowid > ?", [after])[0][0]
        return rowid

    def ranges(self, table: str, after: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield (low, high] of row numbers with rows in them, from `after` on; a gap costs one query."""
        last, low = self.last_rowid(table), after
        while low < last and (first := self.next_rowid(table, low)) is not None:
            # Never beyond the last row: a later run continues from here, and new rows get the next numbers.
            low = min(first - 1 + size, last)
            yield first - 1, low

    def rows_by_id(self, table: LegacyTable, rowids: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
        """Return (row number, {column: value}) of these rows in order, without numbers that no row has."""
        columns = ", ".join(["t.rowid", *(f"t.{quoted(name)}" for name in table.columns)])
        rows = self.rows(
            f"SELECT {columns} FROM json_each(?) AS ids CROSS JOIN {quoted(table.name)} AS t ON t.rowid = ids.value "
            "ORDER BY 1",
            [json.dumps(list(rowids))],
        )
        return [(row[0], dict(zip(table.columns, row[1:], strict=True))) for row in rows]

    def columns(self, sql: str) -> pa.Table:
        """Return the result of a query as Arrow columns; each column must hold one type (and NULL)."""
        with self._errors():
            self._cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": 1 << 17})
            self._cursor.execute(sql)
            return self._cursor.fetch_arrow_table()

    def integrity_error(self) -> str | None:
        """Run SQLite's check, which reads the whole file; return the first problem."""
        result: str = self.rows("PRAGMA quick_check(1)")[0][0].decode(errors="replace")
        return None if result == "ok" else result

    def file_state(self) -> dict[str, int]:
        """Return sizes and times of the file and its WAL, which change when the file is written to."""
        state: dict[str, int] = {}
        for suffix in ("", "-wal"):
            try:
                info = os.stat(f"{self.path}{suffix}")
            except FileNotFoundError:
                continue
            state[f"size{suffix}"], state[f"mtime{suffix}"] = info.st_size, info.st_mtime_ns
        return state
