"""`backup`: the legacy file as it is now, and a dump of the target, before anything is written."""

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

from kamioi_site.errors import KamioiError
from kamioi_site.local import embedded_servers, servers, system
from transactions.legacy.source.snapshot import BUSY_SECONDS, check_file, source_errors

PAGES_A_STEP: Final = 4_096
_BLOCK: Final = 1 << 20

Report = Callable[[str, int, int], None]


class BackupError(KamioiError):
    """The backup could not be made; what was begun is gone."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What was written: `source` is a whole SQLite file of `bytes` with `sha256`, `target` a dump for `pg_restore`."""

    source: Path
    sha256: str
    bytes: int
    target: Path


def make_backup(path: Path, folder: Path, *, on_progress: Report | None = None) -> BackupResult:
    """Copy the legacy file page by page while it is in use, note its SHA-256 beside it, and dump the target.

    Raises LegacySourceError when the file cannot be read, BackupError when a copy cannot be written.
    """
    check_file(path)
    stamp = f"{timezone.now():%Y%m%dT%H%M%SZ}"
    copied, dumped = folder / f"{path.stem}-{stamp}.db", folder / f"kamioi-{stamp}.dump"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(path, folder)
        _copy(path, copied, on_progress)
        digest = _sha256(copied, on_progress)
        # The form that `sha256sum --check` reads.
        copied.with_suffix(".db.sha256").write_text(f"{digest}  {copied.name}\n", encoding="ascii")
    except OSError as error:
        raise BackupError(f"{folder}: {error.strerror or error}.") from error
    _dump(dumped)
    return BackupResult(copied, digest, copied.stat().st_size, dumped)


def _check_room(path: Path, folder: Path) -> None:
    needed = sum(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")) if file.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BackupError(f"{folder}: {needed / 1e6:,.0f} MB are needed for the copy, {free / 1e6:,.0f} MB are free.")


def _copy(path: Path, copied: Path, on_progress: Report | None) -> None:
    partial = copied.with_suffix(".part")

    def told(_: int, remaining: int, total: int) -> None:
        if on_progress:
            on_progress("pages of the file", total - remaining, total)

    try:
        with (
            source_errors(path),
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as source,
            closing(sqlite3.connect(partial)) as target,
        ):
            # One read transaction: else every write of the legacy system would start the copy anew.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(target, pages=PAGES_A_STEP, progress=told)
            fault = target.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise BackupError(f"{path}: SQLite's check of the copy says: {fault}")
        os.replace(partial, copied)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(path: Path, on_progress: Report | None) -> str:
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
            done += len(block)
            if on_progress:
                on_progress("checksum", done, size)
    return digest.hexdigest()


def _dump(target: Path) -> None:
    parameters = connection.get_connection_params()
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    # In the environment, not on the command line: others can read that.
    environment = os.environ | {name: str(parameters[key]) for key, name in names.items() if parameters.get(key)}
    partial = target.with_suffix(".part")
    try:
        done = subprocess.run(
            [_pg_dump(), "--format=custom", "--compress=1", f"--file={partial}"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BackupError(f"pg_dump failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _pg_dump() -> str:
    """A pg_dump that is not older than the server: it refuses newer ones."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        wanted = int(cursor.fetchone()[0]) // 10_000
    seen = []
    for program in _pg_dumps():
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        if match := re.search(r"\) (\d+)", said):
            if int(match[1]) >= wanted:
                return program
            seen.append(match[1])
    found = f"only {', '.join(seen)} was found" if seen else "none was found"
    raise BackupError(f"The dump needs pg_dump {wanted} or newer; {found}. Install PostgreSQL's client programs.")


def _pg_dumps() -> Iterator[str]:
    if given := shutil.which("pg_dump"):
        yield given
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"), reverse=True):
        yield str(place)
    try:
        yield str(servers.EmbeddedPostgres(embedded_servers.home()).binaries / "pg_dump")
    except system.EmbeddedServerError:
        return
