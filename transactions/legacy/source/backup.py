"""`backup`: a consistent copy of the legacy file and a dump of the target database, before anything is written."""

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import connection
from django.utils import timezone

from kamioi_site.db.roles import as_owner
from kamioi_site.errors import KamioiError
from kamioi_site.local import embedded_servers, servers, system
from transactions.legacy.source.sqlite_file import check_file, open_read_only, source_errors

_PAGES_PER_STEP: Final = 4_096
_BLOCK_BYTES: Final = 1 << 20

ProgressCallback = Callable[[str, int, int], None]


class BackupError(KamioiError):
    """The backup failed; incomplete files were deleted."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """The files written: `source`, a complete SQLite file of `bytes` with `sha256`, and `target` for `pg_restore`."""

    source: Path
    sha256: str
    bytes: int
    target: Path


def make_backup(path: Path, folder: Path, *, on_progress: ProgressCallback | None = None) -> BackupResult:
    """Copy the legacy file page by page while it is in use, write its SHA-256 beside it, and dump the target.

    Raises:
        LegacySourceError: the file cannot be read.
        BackupError: a copy cannot be written.
    """
    check_file(path)
    stamp = f"{timezone.now():%Y%m%dT%H%M%SZ}"
    copied, dumped = folder / f"{path.stem}-{stamp}.db", folder / f"kamioi-{stamp}.dump"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_free_space(path, folder)
        _copy(path, copied, on_progress)
        digest = _sha256(copied, on_progress)
        # The format that `sha256sum --check` reads.
        copied.with_suffix(".db.sha256").write_text(f"{digest}  {copied.name}\n", encoding="ascii")
    except OSError as error:
        raise BackupError(f"{folder}: {error.strerror or error}.") from error
    with as_owner():
        _dump(dumped)
    return BackupResult(copied, digest, copied.stat().st_size, dumped)


def _check_free_space(path: Path, folder: Path) -> None:
    needed = sum(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")) if file.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackupError(f"{folder}: the copy needs {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free.")


def _copy(path: Path, copied: Path, on_progress: ProgressCallback | None) -> None:
    partial = copied.with_suffix(".part")

    def report_pages(_: int, remaining: int, total: int) -> None:
        if on_progress:
            on_progress("pages of the file", total - remaining, total)

    try:
        with source_errors(path), closing(open_read_only(path)) as source, closing(sqlite3.connect(partial)) as target:
            # One read transaction: without it every write of the legacy system would restart the copy.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(target, pages=_PAGES_PER_STEP, progress=report_pages)
            problem = target.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise BackupError(f"{path}: SQLite's check of the copy reports: {problem}")
        os.replace(partial, copied)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(path: Path, on_progress: ProgressCallback | None) -> str:
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
            digest.update(block)
            done += len(block)
            if on_progress:
                on_progress("checksum", done, size)
    return digest.hexdigest()


def _dump(target: Path) -> None:
    parameters = connection.get_connection_params()
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    # In the environment, because other users can read the command line.
    environment = os.environ | {name: str(parameters[key]) for key, name in names.items() if parameters.get(key)}
    partial = target.with_suffix(".part")
    try:
        process = subprocess.run(
            [_find_pg_dump(), "--format=custom", "--compress=1", f"--file={partial}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise BackupError(f"pg_dump failed: {(process.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _find_pg_dump() -> str:
    """Find a pg_dump that is not older than the server: it refuses newer servers."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        required = int(cursor.fetchone()[0]) // 10_000
    versions = []
    for program in _pg_dumps():
        output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        if match := re.search(r"\) (\d+)", output):
            if int(match[1]) >= required:
                return program
            versions.append(match[1])
    installed = f"only {', '.join(versions)} is installed" if versions else "none is installed"
    raise BackupError(f"The dump needs pg_dump {required} or newer; {installed}. Install PostgreSQL's client programs.")


def _pg_dumps() -> Iterator[str]:
    if program := shutil.which("pg_dump"):
        yield program
    for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"), reverse=True):
        yield str(path)
    try:
        yield str(servers.EmbeddedPostgres(embedded_servers.home()).binaries / "pg_dump")
    except system.EmbeddedServerError:
        return
