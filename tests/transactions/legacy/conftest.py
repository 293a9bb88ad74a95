"""A target database for the legacy migration, empty and copied into, and a legacy file at every phase."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.database import owner_cursor
from tests.factories import make_company
from tests.legacy_db import make_legacy
from transactions.legacy.cutover import cutover
from transactions.legacy.load.copy import CopyResult, copy_legacy_database
from transactions.legacy.source.change_log import install_change_log
from transactions.legacy.sync.outbox import send_outbox
from transactions.legacy.validate.validation import validate
from transactions.models import MigrationRun


@pytest.fixture
def target(django_db_serialized_rollback: None, transactional_db: None) -> Iterator[None]:
    """Prepare two listed companies, and empty the tables without a model afterwards."""
    make_company("SBUX", "95.00")
    make_company("AAPL", "200.00")
    make_company("RAD", None, is_listed=False)
    yield
    with owner_cursor() as cursor:
        cursor.execute(
            "SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger "
            "WHERE tgname ~ '^legacy_outbox_note_'"
        )
        for (drop_trigger,) in cursor.fetchall():
            cursor.execute(drop_trigger)
        cursor.execute("TRUNCATE legacy_rows, legacy_ids, legacy_progress, legacy_source, legacy_outbox")
        cursor.execute("DROP TABLE IF EXISTS legacy_load_transactions, legacy_load_llm_mappings")


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """Return a small legacy file with every kind of invalid data."""
    return make_legacy(tmp_path / "kamioi.db")


@pytest.fixture
def copied(target: None, legacy: Path) -> CopyResult:
    """Return the result of a complete copy."""
    return run_copy(legacy)


def run_copy(path: Path) -> CopyResult:
    """Run `copy` as the command does."""
    run = MigrationRun.objects.create(command="copy", source=str(path))
    result = copy_legacy_database(path=path, run=run)
    run.status = "done"
    run.save()
    return result


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Write to the file as the legacy system does."""
    with closing(sqlite3.connect(path, timeout=10)) as source:
        yield source
        source.commit()


def a_run(command: str = "sync") -> MigrationRun:
    return MigrationRun.objects.create(command=command)


def run_validate(path: Path) -> None:
    run = MigrationRun.objects.create(command="validate")
    result = validate(path, samples=0)
    assert result.clean, list(result.lines())
    run.status = "done"
    run.save()


@pytest.fixture
def watched(target: None, legacy: Path) -> Path:
    """Return a copied legacy file with a change log."""
    install_change_log(legacy)
    run_copy(legacy)
    return legacy


@pytest.fixture
def over(watched: Path) -> Path:
    """Return a legacy file after the cut-over."""
    run_validate(watched)
    cutover(a_run("cutover"), percent=100)
    send_outbox()
    return watched
