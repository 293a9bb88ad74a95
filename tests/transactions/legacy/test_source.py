"""Files that are not what they should be get one clear sentence; single values are read by their values."""

import hashlib
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from tests.legacy_db import make_legacy
from transactions.legacy.convert import values
from transactions.legacy.convert.arrow_columns import half_even
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacySourceError
from transactions.legacy.validate.oracle_values import read_time, read_units


def opened(path):
    with Snapshot(path) as snapshot:
        return snapshot.count("users")


def test_a_good_file(tmp_path):
    assert opened(make_legacy(tmp_path / "good.db")) == 5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04 a zip file" * 40, "not an SQLite database"),
        (b"id,merchant\n1,STARBUCKS\n" * 40, "not an SQLite database"),
        (b"".join(hashlib.sha256(bytes([n])).digest() for n in range(128)), "encrypted"),
    ],
)
def test_no_database(tmp_path, content, says):
    path = tmp_path / "kamioi.db"
    path.write_bytes(content)
    with pytest.raises(LegacySourceError, match=says):
        opened(path)


def test_missing_and_directory(tmp_path):
    with pytest.raises(LegacySourceError, match="no such file"):
        opened(tmp_path / "none.db")
    with pytest.raises(LegacySourceError, match="not a file"):
        opened(tmp_path)


def test_truncated(tmp_path):
    path = make_legacy(tmp_path / "kamioi.db", rows=300)
    with closing(sqlite3.connect(path)) as source:
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        source.execute("PRAGMA journal_mode = DELETE")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(LegacySourceError, match="truncated"):
        opened(path)


@pytest.mark.django_db
def test_damaged_pages_are_one_sentence_of_the_command(tmp_path):
    path = make_legacy(tmp_path / "kamioi.db", rows=3000)
    with closing(sqlite3.connect(path)) as source:
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        source.execute("PRAGMA journal_mode = DELETE")
    with path.open("r+b") as file:
        file.seek(40_000)
        file.write(b"\x99" * 100_000)
    with pytest.raises(CommandError, match="damaged"):
        call_command("migrate_from_sqlite", "plan", str(path), stdout=StringIO())


def test_locked(tmp_path, monkeypatch):
    path = tmp_path / "kamioi.db"
    with closing(sqlite3.connect(path)) as source:  # not in WAL mode: a writer locks readers out
        source.execute("CREATE TABLE users (a)")
        source.commit()
        source.execute("PRAGMA locking_mode = EXCLUSIVE")
        source.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("transactions.legacy.source.sqlite_file.BUSY_SECONDS", 0.2)
        with pytest.raises(LegacySourceError, match="locked"):
            opened(path)


def test_a_snapshot_does_not_move(tmp_path):
    path = make_legacy(tmp_path / "kamioi.db")
    with Snapshot(path) as snapshot, closing(sqlite3.connect(path)) as other:
        before = snapshot.count("transactions")
        other.execute("DELETE FROM transactions")
        other.commit()
        assert snapshot.count("transactions") == before
        assert len(snapshot.columns("SELECT rowid FROM transactions")) == before


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("2025-01-02 03:04:05", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-01-02T03:04:05.5", datetime(2025, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)),
        ("2025-01-02T03:04:05Z", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-01-02T03:04:05-05:00", datetime(2025, 1, 2, 8, 4, 5, tzinfo=UTC)),
        ("2025-01-02", datetime(2025, 1, 2, tzinfo=UTC)),
        ("01/02/2025", datetime(2025, 1, 2, tzinfo=UTC)),
        ("31/12/2024", datetime(2024, 12, 31, tzinfo=UTC)),
        ("1735787045", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (1735787045.25, datetime(2025, 1, 2, 3, 4, 5, 250000, tzinfo=UTC)),
        (1735787045250, datetime(2025, 1, 2, 3, 4, 5, 250000, tzinfo=UTC)),
    ],
)
def test_times(said, means):
    assert values.timestamp(said) == means
    # The proof reads it by other means and comes to the same.
    assert read_time(said) == (means - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000


@pytest.mark.parametrize("said", ["", "  ", None])
def test_no_time(said):
    assert values.timestamp(said) is None


@pytest.mark.parametrize("said", ["yesterday", "2025-13-01", "17", "99/99/2025", "2025-02-30 10:00:00"])
def test_no_readable_time(said):
    with pytest.raises(values.UnreadableError):
        values.timestamp(said)
    assert read_time(said) is None


@pytest.mark.parametrize(
    ("said", "cents"),
    [
        ("12.50", 1250),
        ("$1,234.5", 123450),
        ("(3.00)", -300),
        (" 7 ", 700),
        (0.1 + 0.2, 30),
        (1.015, 102),
        (1.005, 100),
        (2, 200),
    ],
)
def test_money(said, cents):
    assert values.cents(said) == cents
    assert read_units(said, 2, 10**14) == cents


@pytest.mark.parametrize("said", ["twelve", "1.2.3", "--5", float("nan"), 1e30])
def test_no_money(said):
    with pytest.raises(values.UnreadableError):
        values.cents(said)


@given(st.floats(min_value=-1e9, max_value=1e9), st.sampled_from([2, 4, 8]))
def test_whole_columns_round_as_single_values_do(value, places):
    column = half_even(np.array([value]), places)
    assert int(column[0]) == read_units(value, places, 10**20)


@pytest.mark.parametrize(("said", "means"), [("TRUE", 1), ("no", 0), (-1, -1), ("1.0", 1), ("f", 0)])
def test_booleans(said, means):
    assert values.boolean(said) == means
