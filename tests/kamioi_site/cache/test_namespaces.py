"""Cached reads are computed once, invalidated at once, and correct without Redis."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import transaction
from django_redis import get_redis_connection
from pytest_django import Settings

from kamioi_site.cache import namespaces
from kamioi_site.cache.counters import reset_counts
from kamioi_site.cache.namespaces import CacheNamespace, clear_caches, invalidate_cache, invalidate_caches
from kamioi_site.cache.statistics import namespace_stats
from kamioi_site.local.servers import EmbeddedRedis

PAGE = CacheNamespace("test:user:{user_id}:{page}", ttl=300, generation="test:user:{user_id}")
COUNT = CacheNamespace("test:count", ttl=30)


class _Source:
    """The uncached value; counts how often it is computed."""

    def __init__(self, value: Any = 1, seconds: float = 0) -> None:
        self.value, self.seconds, self.calls = value, seconds, 0

    def __call__(self) -> Any:
        value = self.value
        self.calls += 1
        time.sleep(self.seconds)
        return value


@pytest.fixture(autouse=True)
def _new_process_state() -> Iterator[None]:
    namespaces.reset_process_state()
    reset_counts()
    yield
    namespaces.reset_process_state()
    reset_counts()


def test_a_value_is_computed_once_and_cached_under_its_contract_key() -> None:
    source = _Source({"total": Decimal("12.50")})
    assert [PAGE.get(source, user_id=5, page=1) for _ in range(3)] == [{"total": Decimal("12.50")}] * 3
    assert source.calls == 1
    assert get_redis_connection("default").exists("kamioi:1:test:user:5:1")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        1.5,
        "text “ü”",
        Decimal("0.10"),
        date(2026, 11, 3),
        datetime(2026, 11, 3, 1, 2, 3, 4, tzinfo=UTC),
        timedelta(days=1, microseconds=5),
        UUID(int=7),
        b"\x00\xff",
        (1, (Decimal(2), [3])),
        {"a": {"b": [(1,)]}},
        {1: "one", ("x", 2): Decimal(3)},
        {"": 1},
        [],
    ],
)
def test_a_cached_value_equals_a_computed_one(value: Any) -> None:
    computed, cached = (PAGE.get(lambda: value, user_id=1, page="x") for _ in range(2))
    assert cached == computed == value
    assert type(cached) is type(value)


def test_a_type_that_would_change_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be cached"):
        COUNT.get(lambda: {1, 2})


def test_invalidation_covers_every_page_of_one_user_and_no_other() -> None:
    mine, other = _Source("old"), _Source("other")
    for page in range(3):
        PAGE.get(mine, user_id=5, page=page)
    PAGE.get(other, user_id=6, page=0)
    mine.value = "new"
    PAGE.invalidate(user_id=5)
    assert {PAGE.get(mine, user_id=5, page=page) for page in range(3)} == {"new"}
    PAGE.get(other, user_id=6, page=0)
    assert (mine.calls, other.calls) == (6, 1)


def test_invalidation_is_one_command_for_any_number_of_values() -> None:
    for page in range(50):
        PAGE.get(lambda: "x", user_id=5, page=page)
    client = get_redis_connection("default")
    database = client.connection_pool.connection_kwargs["db"]
    with client.monitor() as monitor:  # shows the whole server, which other test processes use too
        invalidate_cache("test:user:5")
        client.echo("end")
        commands = []
        while "ECHO end" not in commands:
            command = monitor.next_command()
            commands += [command["command"]] if command["db"] == database else []
    names = [command.split()[0] for command in commands]
    assert [name for name in names if name != "SELECT"] == ["UNLINK", "ECHO"]  # a new connection selects its database


def test_many_users_are_invalidated_together() -> None:
    source = _Source()
    for user_id in range(20):
        PAGE.get(source, user_id=user_id, page=1)
    invalidate_caches(f"test:user:{user_id}" for user_id in range(20))
    for user_id in range(20):
        PAGE.get(source, user_id=user_id, page=1)
    assert source.calls == 40


def test_clearing_invalidates_one_namespace_or_all() -> None:
    page, count = _Source(), _Source()

    def read() -> tuple[int, int]:
        PAGE.get(page, user_id=1, page=1)
        COUNT.get(count)
        return page.calls, count.calls

    assert read() == read() == (1, 1)
    PAGE.clear()
    assert read() == (2, 1)
    clear_caches()
    assert read() == (3, 2)


def test_a_value_computed_before_an_invalidation_is_not_served_after_it() -> None:
    def slow() -> str:
        invalidate_cache("test:user:5")  # a write during the computation
        return "old"

    assert PAGE.get(slow, user_id=5, page=1) == "old"
    assert PAGE.get(lambda: "new", user_id=5, page=1) == "new"


def test_an_evicted_generation_does_not_revive_old_values() -> None:
    PAGE.get(lambda: "old", user_id=5, page=1)
    get_redis_connection("default").delete("kamioi:1:generation:test:user:5")
    assert PAGE.get(lambda: "new", user_id=5, page=1) == "new"


def test_a_key_part_cannot_collide_with_another_key() -> None:
    assert PAGE.key(user_id="1:2", page="3") != PAGE.key(user_id="1", page="2:3")
    assert len(PAGE.key(user_id=1, page="x" * 5000)) < 100


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_value_read_before_a_commit_is_invalid_after_it() -> None:
    with transaction.atomic():
        invalidate_cache("test:user:5")
        with ThreadPoolExecutor(1) as other:  # does not see the change yet
            assert other.submit(lambda: PAGE.get(lambda: "old", user_id=5, page=1)).result() == "old"
    assert PAGE.get(lambda: "new", user_id=5, page=1) == "new"


# --- Concurrent reads -----------------------------------------------------------------------------------------------
def test_200_threads_that_miss_a_key_compute_it_once() -> None:
    source = _Source({"n": 1}, seconds=0.2)
    gate = threading.Barrier(200)

    def read(_: int) -> Any:
        gate.wait()
        return COUNT.get(source)

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(read, range(200)))
    assert answers == [{"n": 1}] * 200
    assert len({id(answer) for answer in answers}) == 200  # each caller has a copy
    assert source.calls == 1


def _read_in_process(results: Any) -> None:
    client = get_redis_connection("default")

    def compute() -> str:
        client.incr("test:computed")
        time.sleep(0.3)
        return "value"

    client.incr("test:there")
    while int(client.get("test:there")) < 4:
        time.sleep(0.005)
    with ThreadPoolExecutor(50) as pool:
        results.put(list(pool.map(lambda _: COUNT.get(compute), range(50))))


def test_200_readers_in_four_processes_compute_a_value_once() -> None:
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=_read_in_process, args=(results,)) for _ in range(4)]
    for process in processes:
        process.start()
    answers = [answer for _ in processes for answer in results.get(timeout=60)]
    for process in processes:
        process.join(30)
    assert answers == ["value"] * 200
    assert int(get_redis_connection("default").get("test:computed")) == 1


def test_a_stale_value_is_served_while_one_caller_recomputes() -> None:
    with time_machine.travel(datetime(2026, 11, 3, tzinfo=UTC), tick=False) as clock:
        COUNT.get(lambda: "old")
        clock.shift(31)
        started, resume = threading.Event(), threading.Event()

        def slow() -> str:
            started.set()
            resume.wait(10)
            return "new"

        with ThreadPoolExecutor(1) as pool:
            one = pool.submit(COUNT.get, slow)
            started.wait(10)
            assert [COUNT.get(lambda: "a second computation") for _ in range(5)] == ["old"] * 5
            resume.set()
            assert one.result() == "new"
        assert COUNT.get(lambda: "another") == "new"


def test_a_read_after_an_invalidation_does_not_wait_for_an_older_computation() -> None:
    started, resume = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        resume.wait(10)
        return "old"

    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(COUNT.get, slow)
        started.wait(10)
        COUNT.invalidate()
        assert COUNT.get(lambda: "new") == "new"
        resume.set()
        assert one.result() == "old"
    assert COUNT.get(lambda: "another") == "new"


def test_a_value_is_computed_although_the_lock_holder_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "LOCK_SECONDS", 1)
    COUNT.get(lambda: 0)
    COUNT.invalidate()
    lookup = COUNT.look()
    assert lookup.generations
    assert namespaces._try_lock(lookup.keys.lock(lookup.generations))  # and the holder never releases it
    assert COUNT.get(lambda: "mine") == "mine"


def test_an_error_is_not_cached_and_releases_the_lock() -> None:
    with pytest.raises(ZeroDivisionError):
        COUNT.get(lambda: 1 // 0)
    assert COUNT.get(lambda: "fine") == "fine"


# --- Without Redis -------------------------------------------------------------------------------------------------
@contextmanager
def _own_redis(settings: Settings, directory: Path) -> Iterator[EmbeddedRedis]:
    """Start a Redis for one test, which may kill it."""
    server = EmbeddedRedis(directory)
    server.start()
    before = settings.CACHES
    settings.CACHES = {"default": before["default"] | {"LOCATION": server.url}}
    try:
        yield server
    finally:
        settings.CACHES = before
        if (pid := server.find_pid()) is not None:
            os.kill(pid, signal.SIGKILL)


def _read_during(read: Callable[[], Any], action: Callable[[], None]) -> list[Any]:
    """Return the values that eight threads read while `action` runs; raises their errors."""
    over = threading.Event()

    def reader() -> list[Any]:
        answers = []
        while not over.is_set():
            answers.append(read())
        return answers

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(reader) for _ in range(8)]
        try:
            action()
        finally:
            over.set()
        return [answer for one in readers for answer in one.result()]


def test_reads_survive_a_killed_redis_and_hit_again_after_its_restart(settings: Settings, tmp_path: Path) -> None:
    source = _Source({"amount": Decimal("3.10")}, seconds=0.001)
    with _own_redis(settings, tmp_path) as server:

        def killed() -> None:
            time.sleep(0.2)
            os.kill(server.find_pid() or 0, signal.SIGKILL)
            time.sleep(0.4)
            server.start()
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                calls = source.calls
                time.sleep(0.3)
                if source.calls == calls:  # every read is a hit again
                    return
            raise AssertionError("the cache did not come back")

        answers = _read_during(lambda: COUNT.get(source), killed)
        assert all(answer == {"amount": Decimal("3.10")} for answer in answers)
        figures = namespace_stats()["test:count"]
        assert figures.away > 0
        assert figures.hit > 0


def test_a_hanging_redis_costs_one_timeout_not_one_per_read(settings: Settings, tmp_path: Path) -> None:
    with _own_redis(settings, tmp_path) as server:
        COUNT.get(lambda: 1)
        pid = server.find_pid() or 0
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert [COUNT.get(lambda: 2) for _ in range(200)] == [2] * 200
            assert time.monotonic() - began < 20  # 200 time-outs would be 200 seconds
        finally:
            os.kill(pid, signal.SIGCONT)


def test_an_invalidation_that_redis_missed_is_repeated(settings: Settings, tmp_path: Path) -> None:
    with _own_redis(settings, tmp_path) as server:
        PAGE.get(lambda: "old", user_id=5, page=1)
        pid = server.find_pid() or 0
        os.kill(pid, signal.SIGSTOP)
        PAGE.invalidate(user_id=5)
        assert namespaces.process_state.pending_invalidations == {"test:user:5"}
        assert PAGE.get(lambda: "now", user_id=5, page=1) == "now"
        os.kill(pid, signal.SIGCONT)
        time.sleep(1.1)  # the pause of the circuit breaker
        assert PAGE.get(lambda: "new", user_id=5, page=1) == "new"
        assert not namespaces.process_state.pending_invalidations


def test_without_redis_a_result_is_never_older_than_the_question(settings: Settings) -> None:
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    state = {"value": "old"}
    started, resume = threading.Event(), threading.Event()
    computed: list[str] = []

    def compute() -> str:
        value = state["value"]
        computed.append(value)
        started.set()
        resume.wait(10)
        return value

    with ThreadPoolExecutor(51) as pool:
        first = pool.submit(COUNT.get, compute)
        started.wait(10)
        state["value"] = "new"
        later = [pool.submit(COUNT.get, compute) for _ in range(50)]
        time.sleep(0.2)
        resume.set()
        assert first.result() == "old"
        assert {one.result() for one in later} == {"new"}
    assert computed[0] == "old"
    assert len(computed) < 10  # fifty reads share a few computations


# --- Statistics ----------------------------------------------------------------------------------------------------
def test_hits_and_computations_are_counted_by_namespace() -> None:
    for _ in range(4):
        PAGE.get(lambda: 1, user_id=1, page=1)
    figures = namespace_stats()[PAGE.template]
    assert (figures.hit, figures.computed, figures.reads, figures.hit_rate) == (3, 1, 4, 0.75)
    assert figures.compute_ms is not None
    assert namespace_stats()[COUNT.template].hit_rate is None
