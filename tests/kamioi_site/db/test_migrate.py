"""Two `manage.py migrate` at once: the second waits."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from django.db import connection

from tests.database import owner_url
from tests.workers import ROOT, process_environment


@pytest.fixture
def empty_database(db: None) -> Iterator[dict[str, str]]:
    """Create a database; return the environment of a process that uses it."""
    name = f"{connection.settings_dict['NAME']}_migrated_twice"
    environment = process_environment()
    urls = {variable: environment.get(variable) for variable in ("DATABASE_URL", "MIGRATION_DATABASE_URL")}
    with closing(psycopg2.connect(_with_name(owner_url(), "postgres"))) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
        yield environment | {variable: _with_name(url, name) for variable, url in urls.items() if url}
        cursor.execute(f"DROP DATABASE {name}")  # without FORCE, it waits for autovacuum


def _with_name(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _check(environment: dict[str, str]) -> int:
    """The exit code of `migrate --check` as the application, who owns nothing."""
    return subprocess.run(
        [sys.executable, "manage.py", "migrate", "--check"],
        cwd=ROOT,
        env=environment | {"MIGRATION_DATABASE_URL": ""},
        capture_output=True,
        check=False,
    ).returncode


def test_two_migrate_at_once_apply_each_migration_once(empty_database: dict[str, str]) -> None:
    assert _check(empty_database) == 1
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
    outputs = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    first, second = sorted((out for out, _ in outputs), key=lambda out: "No migrations to apply" in out)
    assert "Applying transactions.0001_initial... OK" in first
    assert "Another `migrate` is running" in second
    assert "Applying" not in second
    assert _check(empty_database) == 0
