"""The legacy SQLite file, opened read-only, as one snapshot.

Rules that hold here:

* The file is opened with `mode=ro`: nothing in this package can change it. (SQLite itself may leave an empty `-wal` and
  a `-shm` beside a WAL database; they belong to the legacy system.)
* A `Snapshot` is two connections in one read transaction each: `sqlite3` for single rows and ADBC for whole columns.
  Both see the same commit, however busily the legacy system writes (`Snapshot` says how that is made sure).
* Columns are found by name in `PRAGMA table_info`: every legacy database has a different set of them.
* Whatever is wrong with the file is told in one sentence, as `LegacySourceError`.
"""

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa

from kamioi_site.errors import KamioiError

BUSY_SECONDS = 5.0
_HEADER = b"SQLite format 3\x00"
_WRITERS_TRIED = 200


class LegacySourceError(KamioiError):
    """The legacy database cannot be read."""


@dataclass(frozen=True, slots=True)
class LegacyTable:
    """One table of the source: its columns in order, with declared types, and how its rows are told apart."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]
    has_rowid: bool

    @property
    def id_column(self) -> str:
        """The SQL of a row's legacy id: its single key column, or the rowid where there is none."""
        return quoted(self.key[0]) if len(self.key) == 1 else "rowid"

    @property
    def id_is_rowid(self) -> bool:
        """Whether `id` is SQLite's own row number, which makes ranges of ids ranges of the table."""
        return self.has_rowid and self.key == ("id",) and self.types[self.columns.index("id")] == "INTEGER"


def quoted(name: str) -> str:
    """A name as SQL wants it, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def check_file(path: Path) -> None:
    """Refuse what is not a whole SQLite file, before SQLite sees it. Raises LegacySourceError."""
    if not path.exists():
        raise LegacySourceError(f"{path}: there is no such file.")
    if not path.is_file():
        raise LegacySourceError(f"{path}: this is not a file.")
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except PermissionError as error:
        raise LegacySourceError(f"{path}: this account may not read the file.") from error
    size = path.stat().st_size
    if size == 0:
        raise LegacySourceError(f"{path}: the file is empty.")
    if not header.startswith(_HEADER):
        # SQLCipher and SEE encrypt the header too: what is left is whole pages of noise.
        noise = size % 512 == 0 and len(set(header)) > 48 and not header.isascii()
        raise LegacySourceError(
            f"{path}: the file is encrypted, or not an SQLite database; decrypt it first."
            if noise
            else f"{path}: this is not an SQLite database."
        )
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    counted = header[24:28] == header[92:96]  # else the page count was written by a version that did not keep it
    if len(header) < 100 or (counted and size < pages * page and not _has_wal(path)):
        raise LegacySourceError(
            f"{path}: the file is truncated: it should have {pages * page:,} bytes and has {size:,}."
        )


def _has_wal(path: Path) -> bool:
    wal = path.with_name(path.name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


@contextmanager
def source_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file into one sentence."""
    try:
        yield
    except (sqlite3.Error, adbc.Error) as error:
        raise LegacySourceError(f"{path}: {_sentence(str(error))}") from error


def _sentence(message: str) -> str:
    lowered = message.lower()
    if "malformed" in lowered or "corrupt" in lowered or "disk i/o" in lowered:
        return "the file is damaged (“database disk image is malformed”); restore a copy or run SQLite's `.recover` on one."
    if "locked" in lowered or "busy" in lowered:
        return f"another program holds the file locked for more than {BUSY_SECONDS:.0f} seconds; try again when it has finished."
    if "not a database" in lowered:
        return "the file is encrypted, or not an SQLite database."
    if "unable to open" in lowered:
        return "SQLite cannot open the file: this account needs to read it, and to write beside it while it is in WAL mode."
    return f"SQLite says: {message}."


class Snapshot:
    """One commit of the source, for as long as the `with` block lasts.

    Two connections see the same commit when no other one committed between their first reads. A third connection
    watches `PRAGMA data_version`, which changes with every commit of others: when it moved, both start again.
    Nobody is held up: in WAL mode readers and writers do not wait for each other. A file that is not in WAL mode lets
    nobody write while it is read (`is_wal` tells).
    """

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.path = path
        self._one_at_a_time = threading.Lock()
        self._uri = f"{path.resolve().as_uri()}?mode=ro"
        with source_errors(path):
            self._open()
            self.is_wal = self.sql.execute("PRAGMA journal_mode").fetchone()[0] == b"wal"
            self.tables = {table.name: table for table in self._tables()}

    def _open(self) -> None:
        watch = self._connect()
        try:
            for _ in range(_WRITERS_TRIED):
                before = watch.execute("PRAGMA data_version").fetchone()[0]
                self.sql = self._connect()
                self.sql.execute("BEGIN")
                self.sql.execute("SELECT count(*) FROM sqlite_master").fetchone()
                self._arrow = adbc.connect(self._uri)  # starts a transaction by itself
                self._cursor = self._arrow.cursor()
                self._cursor.execute("SELECT count(*) FROM sqlite_master")
                self._cursor.fetchone()
                if watch.execute("PRAGMA data_version").fetchone()[0] == before:
                    return
                self.close()
        finally:
            watch.close()
        raise LegacySourceError(f"{self.path}: it is written to without a pause; try again.")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = bytes  # what claims to be text may be anything; `rules` decodes it
        # Each connection keeps its own pages: small, so that memory does not grow with the file.
        connection.execute("PRAGMA cache_size = -16000")
        return connection

    def close(self) -> None:
        """Let the snapshot go."""
        self._cursor.close()
        self._arrow.close()
        self.sql.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tables(self) -> Iterator[LegacyTable]:
        found = self.sql.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "AND name NOT LIKE 'kamioi\\_%' ESCAPE '\\' ORDER BY 1"
        ).fetchall()
        for raw_name, sql in found:
            name = raw_name.decode()
            info = self.sql.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
            key = sorted((row[5], row[1].decode()) for row in info if row[5])
            yield LegacyTable(
                name=name,
                columns=tuple(row[1].decode() for row in info),
                types=tuple(row[2].decode().upper() for row in info),
                key=tuple(column for _, column in key),
                has_rowid=not re.search(rb"WITHOUT\s+ROWID", sql or b"", re.IGNORECASE)
                and not re.match(rb"\s*CREATE\s+VIRTUAL", sql or b"", re.IGNORECASE),
            )

    def count(self, table: str) -> int:
        """Rows of the table."""
        with source_errors(self.path):
            return int(self.sql.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])

    def last_rowid(self, table: str) -> int:
        """The largest row number; 0 for an empty table."""
        with source_errors(self.path):
            return int(self.sql.execute(f"SELECT coalesce(max(rowid), 0) FROM {quoted(table)}").fetchone()[0])

    def next_rowid(self, table: str, after: int) -> int | None:
        """The first row number past `after`; None when there is none."""
        with source_errors(self.path):
            found = self.sql.execute(f"SELECT min(rowid) FROM {quoted(table)} WHERE rowid > ?", [after]).fetchone()[0]
        return None if found is None else int(found)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; text as bytes."""
        with source_errors(self.path), self._one_at_a_time:
            return self.sql.execute(sql, parameters).fetchall()

    def rows_by_id(
        self, table: LegacyTable, rowids: Iterable[int], columns: Sequence[str] | None = None
    ) -> list[tuple[int, dict[str, Any]]]:
        """(row number, {column: value}) of these rows, in order; numbers that no row has are left out."""
        names = table.columns if columns is None else columns
        selected = ", ".join(["t.rowid", *(f"t.{quoted(name)}" for name in names)])
        found = self.rows(
            f"SELECT {selected} FROM json_each(?) AS wanted CROSS JOIN {quoted(table.name)} AS t ON t.rowid = wanted.value "
            "ORDER BY 1",
            [json.dumps(list(rowids))],
        )
        return [(row[0], dict(zip(names, row[1:], strict=True))) for row in found]

    def columns(self, sql: str) -> pa.Table:
        """The result of a query as Arrow columns. Each column must hold one type (and NULL)."""
        with source_errors(self.path):
            self._cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": 1 << 17})
            self._cursor.execute(sql)
            return self._cursor.fetch_arrow_table()

    def fault(self) -> str | None:
        """What SQLite's own check finds wrong first; None when the file is whole. Reads the whole file."""
        with source_errors(self.path):
            said = self.sql.execute("PRAGMA quick_check(1)").fetchone()[0].decode(errors="replace")
        return None if said == "ok" else said

    def state(self) -> dict[str, int]:
        """What tells whether the file was written to since: bytes and time of the file and of its log."""
        state: dict[str, int] = {}
        for suffix in ("", "-wal"):
            try:
                info = os.stat(f"{self.path}{suffix}")
            except FileNotFoundError:
                continue
            state[f"size{suffix}"], state[f"mtime{suffix}"] = info.st_size, info.st_mtime_ns
        return state
