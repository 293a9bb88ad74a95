"""Two `manage.py migrate` at once: the second waits."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from tests.workers import ROOT, process_environment

NAME = "kamioi_migrated_twice"


@pytest.fixture
def empty_database(db: None) -> Iterator[dict[str, str]]:
    """Create a database; return the environment of a process that uses it."""
    environment = process_environment()
    url = environment["DATABASE_URL"]
    with closing(psycopg2.connect(_with_name(url, "postgres"))) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME}")
        cursor.execute(f"CREATE DATABASE {NAME}")
        yield environment | {"DATABASE_URL": _with_name(url, NAME)}
        cursor.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


def _with_name(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def test_two_migrate_at_once_apply_each_migration_once(empty_database: dict[str, str]) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "--no-color"],
            cwd=ROOT,
            env=empty_database,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    first, second = sorted((out for out, _ in outputs), key=lambda out: "No migrations to apply" in out)
    assert "Applying transactions.0001_initial... OK" in first
    assert "Another `migrate` is running" in second
    assert "Applying" not in second
