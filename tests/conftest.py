"""Tests run on real servers: the embedded ones under `.kamioi/test`, or those of DATABASE_URL and REDIS_URL.

This file is imported before Django's settings, so that they find the servers.

- The home differs from that of `make run`, so both can run at once. `KAMIOI_TEST_HOME` changes it.
- The owner of the schema creates the test database; tests run as the application's role, which owns nothing. The mark
  `as_owner` is for tests that change tables within their transaction, `tests.database.owner_cursor` for all others.
- Each session of a home takes a slot with its own test database and Redis databases, and so does every process of a
  parallel run (`-n 4`). The last session to end stops the servers that a session started.
- On a given Redis, tests use one database (`REDIS_TEST_DB`, default 15; parallel processes count down from it) and
  refuse to run if it contains keys that no test created.
"""

import fcntl
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
import redis
from pytest_django import DjangoDbBlocker

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kamioi_site.local import embedded_servers, system  # noqa: E402
from tests import citus  # noqa: E402

SLOTS = 6
# Redis databases per slot: one for a session's first process and one for each parallel process.
SLOT_DATABASES = 20
# Files with the longest tests. They run first, so that no process is left with one of them at the end.
LONG_TESTS = (
    "kamioi_site/test_access.py",
    "transactions/legacy/test_kill.py",
    "kamioi_site/api/test_schema.py",
    "docker/test_devserver.py",
    "docker/test_prometheus.py",
    "docker/test_cluster.py",
    "kamioi_site/db/test_migrate.py",
    "kamioi_site/http/test_outage.py",
    "browser/test_policy.py",
    "browser/test_llm_center.py",
    "browser/test_journey.py",
    "kamioi_site/messaging/test_worker.py",
    "kamioi_site/messaging/test_rabbitmq.py",
    "chaos/test_faults.py",
)
# A database with this key contains only keys of tests.
MARKER = "kamioi-tests-own-this-database"

_in_worker = "PYTEST_XDIST_WORKER" in os.environ
_slot: IO[str] | None = None


def _take_slot(here: Path) -> tuple[int, IO[str]]:
    """Lock the lowest free slot of this home; the kernel releases it when this process ends."""
    here.mkdir(parents=True, exist_ok=True)
    for number in range(SLOTS):
        handle = (here / f"session-{number}.lock").open("a")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
        else:
            return number, handle
    pytest.exit(f"{SLOTS} test sessions are running in {here} already.", returncode=3)


def _redis_url(process: int) -> str:
    """Return the URL for one process of the session: 0 is the first, 1 and up are parallel ones."""
    parts = urlsplit(os.environ["KAMIOI_TEST_REDIS_URL"])
    number = int(os.environ["KAMIOI_TEST_REDIS_DB"]) + process * int(os.environ["KAMIOI_TEST_REDIS_STEP"])
    if number < 0:
        pytest.exit("Too few Redis databases for so many processes: raise REDIS_TEST_DB.", returncode=3)
    return urlunsplit(parts._replace(path=f"/{number}"))


def _claim_redis(url: str) -> None:
    """Empty the database if it belongs to the tests; abort if it does not."""
    client = redis.Redis.from_url(url)
    try:
        if client.dbsize() and not client.exists(MARKER):
            pytest.exit(
                f"Redis database {urlsplit(url).path.lstrip('/')} contains keys that no test created. "
                "Set REDIS_TEST_DB to the number of an empty one.",
                returncode=3,
            )
        client.flushdb()
        client.set(MARKER, "1")
    finally:
        client.close()


# Tests start hundreds of processes of Kamioi; compiling its modules in each takes a third of a start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

if not _in_worker:  # the processes of a parallel run inherit all of this
    here = Path(os.environ.get("KAMIOI_TEST_HOME") or ROOT / ".kamioi" / "test")
    os.environ["KAMIOI_HOME"] = str(here)
    os.environ.pop("REPLICA_URL", None)  # a standby has no test database; tests of replicas start their own
    _number, _slot = _take_slot(here)
    # Temporary files of this session alone: each start of pytest makes the directory that all share private again, and
    # a test's servers run as another user.
    _temporary = Path(tempfile.gettempdir(), f"kamioi-{blake2b(bytes(here), digest_size=4).hexdigest()}-{_number}")
    _temporary.mkdir(exist_ok=True)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_temporary)
    for _name in ("DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL"):
        if _file := os.environ.pop(f"{_name}_FILE", ""):  # it would override what is set below
            os.environ[_name] = Path(_file).read_text().strip()
    if citus.ON_CITUS:
        os.environ["DATABASE_URL"] = citus.database_url()
        os.environ.pop("MIGRATION_DATABASE_URL", None)
    _redis_given = embedded_servers.redis_is_given()
    try:
        if embedded_servers.ensure_servers():
            (here / "started-by-tests").touch()
    except system.EmbeddedServerError as error:
        pytest.exit(str(error), returncode=3)
    if _number:
        # The test database is named after the configured one.
        for _name in ("DATABASE_URL", "MIGRATION_DATABASE_URL"):
            if _url := os.environ.get(_name):
                _parts = urlsplit(_url)
                os.environ[_name] = urlunsplit(_parts._replace(path=f"{_parts.path}_{_number}"))
    os.environ["KAMIOI_TEST_REDIS_URL"] = os.environ["REDIS_URL"]
    if _redis_given:
        _first, _step = int(os.environ.get("REDIS_TEST_DB", "15")), -1
    else:
        _first, _step = 1 + _number * SLOT_DATABASES, 1
    os.environ["KAMIOI_TEST_REDIS_DB"], os.environ["KAMIOI_TEST_REDIS_STEP"] = str(_first), str(_step)
    os.environ["REDIS_URL"] = _redis_url(0)
_REDIS_URL = os.environ["REDIS_URL"]  # some tests change the variable
_claim_redis(_REDIS_URL)
_redis = redis.Redis.from_url(_REDIS_URL)  # every test uses it, and a connection costs ten times as much as the reset
os.environ["DJANGO_SETTINGS_MODULE"] = "kamioi_site.settings.test"

import django  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django_ratelimit import core as ratelimit  # noqa: E402

from tests import database  # noqa: E402

if settings.configured and settings.SETTINGS_MODULE != "kamioi_site.settings.test":
    pytest.exit("Unset DJANGO_SETTINGS_MODULE: tests bring their own settings.", returncode=3)
# A busy machine is not a failure, and the first example may import a library.
hypothesis.settings.register_profile("kamioi", deadline=None)
hypothesis.settings.load_profile("kamioi")
django.setup()  # pytest-django looks for settings only before it imports this file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: Sequence[Any]) -> None:
    """Give every process of a parallel run its own Redis database, before its settings load."""
    for number, spec in enumerate(specs, start=1):
        spec.env["REDIS_URL"] = _redis_url(number)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what runs on a Citus cluster too."""
    if citus.is_for_citus(item.path.relative_to(ROOT / "tests").as_posix(), item.name):
        item.add_marker("citus")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest tests first: with `-n`, at the start of the share that each process gets.

    Tests of an `xdist_group` stay together, because they share what takes long to start.
    """
    processes = int(getattr(config, "workerinput", {}).get("workercount", 1))
    long = [item for item in items if item.path.relative_to(ROOT / "tests").as_posix() in LONG_TESTS]
    short, ordered = [item for item in items if item not in set(long)], list[pytest.Item]()
    groups: dict[str, list[pytest.Item]] = {}
    for item in long:
        marker = item.get_closest_marker("xdist_group")
        groups.setdefault(marker.args[0] if marker else item.nodeid, []).append(item)
    for number in range(processes):
        share = [item for group in list(groups.values())[number::processes] for item in group]
        size = max(0, (len(items) - len(ordered)) // (processes - number) - len(share))
        ordered += share + short[:size]
        short = short[size:]
    items[:] = ordered + short


def pytest_collection_finish() -> None:
    """Leave a million objects of the imports out of every garbage collection, and collect old objects less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)


def pytest_unconfigure() -> None:
    """Empty the Redis database; the last session to end stops the servers that a session started."""
    _redis.flushdb()
    _redis.close()
    shutil.rmtree(settings.MEDIA_ROOT, ignore_errors=True)
    if _slot is None:
        return
    here = Path(os.environ["KAMIOI_HOME"])
    database.drop_template()
    _slot.close()
    others = []
    try:
        for path in here.glob("session-*.lock"):
            others.append(path.open("a"))
            fcntl.flock(others[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (here / "started-by-tests").exists():
            embedded_servers.stop_servers()
            (here / "started-by-tests").unlink()
    except BlockingIOError:
        pass  # another session still uses them
    finally:
        for handle in others:
            handle.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Choose the database role of the test."""
    database.role_of_test = "owner" if item.get_closest_marker("as_owner") else "application"
    database.connect_as(database.role_of_test)


@pytest.fixture(scope="session")
def _template(django_db_modify_db_settings: None) -> database.Template:
    database.connect_as("owner")
    database.end_sessions(connection.creation._get_test_db_name())  # type: ignore[attr-defined]
    return database.Template(Path(os.environ["KAMIOI_HOME"]))


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest) -> bool:
    """Keep the database of a cluster: Django can neither create nor drop it there."""
    return citus.ON_CITUS or bool(request.config.getoption("reuse_db"))


@pytest.fixture(scope="session")
def django_db_setup(
    _template: database.Template, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Create and drop the test database as the owner; after a test that committed, restore its initial rows."""
    _template.save()
    if citus.ON_CITUS:
        with django_db_blocker.unblock():
            database.distribute()
    with pytest.MonkeyPatch.context() as patch:
        flush = "django.db.backends.base.operations.BaseDatabaseOperations.execute_sql_flush"
        patch.setattr(flush, database.reset_database)
        database.remove_limits()
        database.keep_initial_rows()
        database.connect_as(database.role_of_test)
        yield
    database.connect_as("owner")
    database.end_sessions(connection.settings_dict["NAME"])


@pytest.fixture(autouse=True)
def _rate_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin the windows of rate limits with the test: one that ended in the middle would count from zero again."""
    start = int(time.time())

    def window_end(_: str, period: int) -> int:
        return start + (int(time.time() - start) // period + 1) * period

    monkeypatch.setattr(ratelimit, "_get_window", window_end)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Remove counters and cached values after each test."""
    yield
    with _redis.pipeline() as reset:
        reset.flushdb()
        reset.set(MARKER, "1")
        reset.execute()


@pytest.fixture(autouse=True)
def _shipped_catalogue() -> Iterator[None]:
    """Restore the shipped catalogue after a test that edited it."""
    yield
    from llm_center import catalogue, matcher
    from llm_center.services import brands

    if catalogue._current is not None:
        catalogue._current = brands._loaded = None
        catalogue.load_companies.cache_clear()
        matcher.clear_index()
