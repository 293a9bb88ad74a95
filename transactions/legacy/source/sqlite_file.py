"""The legacy SQLite file: checks before it is opened, connections to it, and errors in one sentence.

Only `writable` can change the file. A read-only connection may still leave an empty `-wal` and a `-shm` beside a WAL
database; both belong to the legacy system.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kamioi_site.errors import KamioiError

BUSY_SECONDS = 5.0
_HEADER = b"SQLite format 3\x00"


class LegacySourceError(KamioiError):
    """The legacy database cannot be read."""


@dataclass(frozen=True, slots=True)
class LegacyTable:
    """One table of the file: its columns in order, their declared types, and the columns of its primary key."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]
    has_rowid: bool

    @property
    def id_is_rowid(self) -> bool:
        """Whether `id` is SQLite's own row number, so that a range of ids is a range of the table."""
        return self.has_rowid and self.key == ("id",) and self.types[self.columns.index("id")] == "INTEGER"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def check_file(path: Path) -> None:
    """Refuse a path that is not a complete SQLite file, before SQLite opens it.

    Raises:
        LegacySourceError: with the reason in one sentence.
    """
    if not path.exists():
        raise LegacySourceError(f"{path}: no such file.")
    if not path.is_file():
        raise LegacySourceError(f"{path}: not a file.")
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except PermissionError as error:
        raise LegacySourceError(f"{path}: this account has no permission to read the file.") from error
    size = path.stat().st_size
    if size == 0:
        raise LegacySourceError(f"{path}: the file is empty.")
    if not header.startswith(_HEADER):
        # SQLCipher and SEE encrypt the header too: the file is whole pages of noise.
        is_noise = size % 512 == 0 and len(set(header)) > 48 and not header.isascii()
        raise LegacySourceError(
            f"{path}: the file is encrypted, or not an SQLite database; decrypt it first."
            if is_noise
            else f"{path}: not an SQLite database."
        )
    page_size = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if page_size == 1 else page_size)
    has_page_count = header[24:28] == header[92:96]  # old versions of SQLite do not maintain the count
    wal = path.with_name(path.name + "-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    if len(header) < 100 or (has_page_count and size < expected and not has_wal):
        raise LegacySourceError(f"{path}: the file is truncated: expected {expected:,} bytes, found {size:,}.")


@contextmanager
def source_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the file into one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise source_error(path, error) from error


def source_error(path: Path, error: Exception) -> LegacySourceError:
    """Describe an error of SQLite in one sentence."""
    message = str(error).lower()
    if "malformed" in message or "corrupt" in message or "disk i/o" in message:
        text = "the file is damaged (“database disk image is malformed”); restore a copy, or run `.recover` on one."
    elif "locked" in message or "busy" in message:
        text = f"another program has locked the file for more than {BUSY_SECONDS:.0f} seconds; try again later."
    elif "not a database" in message:
        text = "the file is encrypted, or not an SQLite database."
    elif "unable to open" in message:
        text = (
            "SQLite cannot open the file: this account must be able to read it, and to write to its directory while it "
            "is in WAL mode."
        )
    else:
        text = f"SQLite reports: {error}."
    return LegacySourceError(f"{path}: {text}")


def open_read_only(path: Path, *, timeout: float | None = None) -> sqlite3.Connection:
    """Open the file read-only in autocommit mode; text is returned as bytes, because it may be in any encoding."""
    opened = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_SECONDS if timeout is None else timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    opened.text_factory = bytes
    # Each connection has its own page cache: small, so that memory does not grow with the file.
    opened.execute("PRAGMA cache_size = -16000")
    return opened


@contextmanager
def writable(path: Path) -> Iterator[sqlite3.Connection]:
    """Write to the file in one transaction, after the legacy system's locks; never creates it."""
    check_file(path)
    uri = f"{path.resolve().as_uri()}?mode=rw"
    with (
        source_errors(path),
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as source,
    ):
        source.execute("BEGIN IMMEDIATE")
        try:
            yield source
        except BaseException:
            source.execute("ROLLBACK")
            raise
        source.execute("COMMIT")


def can_open(path: Path) -> bool:
    try:
        with closing(open_read_only(path)) as source:
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return True
