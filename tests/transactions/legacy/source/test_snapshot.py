"""Invalid files are refused with one sentence; a snapshot is one commit."""

import hashlib
import os
import sqlite3
from contextlib import closing
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.legacy_db import make_legacy
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacySourceError


def opened(path):
    with Snapshot(path) as snapshot:
        return snapshot.count("users")


def test_a_valid_file_is_read(tmp_path):
    assert opened(make_legacy(tmp_path / "good.db")) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04 a zip file" * 40, "not an SQLite database"),
        (b"id,merchant\n1,STARBUCKS\n" * 40, "not an SQLite database"),
        (b"".join(hashlib.sha256(bytes([n])).digest() for n in range(128)), "encrypted"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "kamioi.db"
    path.write_bytes(content)
    with pytest.raises(LegacySourceError, match=message):
        opened(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    with pytest.raises(LegacySourceError, match="no such file"):
        opened(tmp_path / "none.db")
    with pytest.raises(LegacySourceError, match="not a file"):
        opened(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    path = make_legacy(tmp_path / "kamioi.db", rows=300)
    with closing(sqlite3.connect(path)) as source:
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        source.execute("PRAGMA journal_mode = DELETE")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(LegacySourceError, match="truncated"):
        opened(path)


@pytest.mark.django_db
def test_the_command_reports_damaged_pages_in_one_sentence(tmp_path):
    path = make_legacy(tmp_path / "kamioi.db", rows=3000)
    with closing(sqlite3.connect(path)) as source:
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        source.execute("PRAGMA journal_mode = DELETE")
    with path.open("r+b") as file:
        file.seek(40_000)
        file.write(b"\x99" * 100_000)
    with pytest.raises(CommandError, match="damaged"):
        call_command("migrate_from_sqlite", "plan", str(path), stdout=StringIO())


def test_a_locked_file_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "kamioi.db"
    with closing(sqlite3.connect(path)) as source:  # not in WAL mode: a writer locks readers out
        source.execute("CREATE TABLE users (a)")
        source.commit()
        source.execute("PRAGMA locking_mode = EXCLUSIVE")
        source.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("transactions.legacy.source.sqlite_file.BUSY_SECONDS", 0.2)
        with pytest.raises(LegacySourceError, match="locked"):
            opened(path)


def test_a_snapshot_does_not_see_later_writes(tmp_path):
    path = make_legacy(tmp_path / "kamioi.db")
    with Snapshot(path) as snapshot, closing(sqlite3.connect(path)) as other:
        before = snapshot.count("transactions")
        other.execute("DELETE FROM transactions")
        other.commit()
        assert snapshot.count("transactions") == before
        assert len(snapshot.columns("SELECT rowid FROM transactions")) == before
