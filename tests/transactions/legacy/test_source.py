"""Invalid files are refused with one sentence; single values are converted by the rules."""

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


@pytest.mark.parametrize(
    ("value", "expected"),
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
def test_times_are_converted(value, expected):
    assert values.timestamp(value) == expected
    # The oracle converts it by other means.
    assert read_time(value) == (expected - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_time_is_none(value):
    assert values.timestamp(value) is None


@pytest.mark.parametrize("value", ["yesterday", "2025-13-01", "17", "99/99/2025", "2025-02-30 10:00:00"])
def test_an_invalid_time_is_unreadable(value):
    with pytest.raises(values.UnreadableError):
        values.timestamp(value)
    assert read_time(value) is None


@pytest.mark.parametrize(
    ("value", "cents"),
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
def test_money_is_converted_to_cents(value, cents):
    assert values.cents(value) == cents
    assert read_units(value, 2, 10**14) == cents


@pytest.mark.parametrize("value", ["twelve", "1.2.3", "--5", float("nan"), 1e30])
def test_invalid_money_is_unreadable(value):
    with pytest.raises(values.UnreadableError):
        values.cents(value)


@given(st.floats(min_value=-1e9, max_value=1e9), st.sampled_from([2, 4, 8]))
def test_columns_are_rounded_like_single_values(value, places):
    column = half_even(np.array([value]), places)
    assert int(column[0]) == read_units(value, places, 10**20)


@pytest.mark.parametrize(("value", "expected"), [("TRUE", 1), ("no", 0), (-1, -1), ("1.0", 1), ("f", 0)])
def test_booleans_are_converted(value, expected):
    assert values.boolean(value) == expected
