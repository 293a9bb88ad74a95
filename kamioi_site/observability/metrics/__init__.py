"""Metrics for Prometheus: counters of every process, and values of the whole system that are read at the scrape.

Two kinds of metrics in one response (`registry()`), served by the web at `/metrics` and by each Celery worker on
`KAMIOI_WORKER_METRICS_PORT`:
- **Counted where it happens** (requests, tasks, waits for a connection): `prometheus_client` counters, histograms and
  `livesum` gauges. With `PROMETHEUS_MULTIPROC_DIR` every process writes a file there, and the scraped process adds
  them up. Processes of one machine may share a directory; containers must not, as their process ids collide.
- **Read at the scrape** (queues, database, money): functions registered with `collector`, see `collectors.py`.

Names start with `kamioi_`. Labels are bounded: routes are URL patterns, never paths; no customer data is a label.
"""

import contextlib
import fcntl
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from hmac import compare_digest
from pathlib import Path

# prometheus_client reads it at its first import. A worker with its own port needs no shared directory.
if os.environ.get("KAMIOI_WORKER_METRICS_PORT") and not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    OWN_DIRECTORY = tempfile.mkdtemp(prefix="kamioi-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = OWN_DIRECTORY
else:
    OWN_DIRECTORY = ""
if _directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    Path(_directory).mkdir(parents=True, exist_ok=True)

import psutil
from django.conf import settings
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from kamioi_site.http.staff_ip_allowlist import address_in
from kamioi_site.observability.metrics.collectors import metrics_collector

# 0.2 is the objective for 95 % of the API calls.
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30)
_TASK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 1200, 3600)
_WAIT_BUCKETS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 30)

HTTP_REQUESTS = Counter("kamioi_http_requests", "Requests.", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "kamioi_http_request_seconds",
    "Time from the request, including its wait for a thread, to the start of the response.",
    ["method", "route"],
    buckets=_REQUEST_BUCKETS,
)
HTTP_SHED = Counter("kamioi_http_requests_shed", "Requests refused because they waited too long for a thread.")
HTTP_IN_FLIGHT = Gauge("kamioi_http_requests_in_flight", "Requests in progress.", multiprocess_mode="livesum")

EVENT_STREAMS = Gauge("kamioi_event_streams", "Open server-sent event streams.", multiprocess_mode="livesum")

TASKS = Counter(
    "kamioi_tasks",
    "Task runs by outcome: success, failure, retry, rejected, ignored, lost (the process died), timeout.",
    ["task", "queue", "outcome"],
)
TASK_SECONDS = Histogram("kamioi_task_seconds", "Duration of a run.", ["task"], buckets=_TASK_BUCKETS)
TASK_WAIT_SECONDS = Histogram(
    "kamioi_task_wait_seconds",
    "Time from sending a message to the start of its task.",
    ["queue"],
    buckets=_TASK_BUCKETS,
)
TASKS_RUNNING = Gauge("kamioi_tasks_running", "Busy processes of a pool.", ["pool"], multiprocess_mode="livesum")
WORKER_PROCESSES = Gauge("kamioi_worker_processes", "Processes of a pool.", ["pool"], multiprocess_mode="livesum")

POOL_IN_USE = Gauge("kamioi_db_pool_connections_in_use", "Pool connections in use.", multiprocess_mode="livesum")
POOL_LIMIT = Gauge(
    "kamioi_db_pool_connections_limit", "Maximum number of pool connections.", multiprocess_mode="livesum"
)
POOL_WAIT_SECONDS = Histogram(
    "kamioi_db_pool_wait_seconds", "Wait for a pool connection, including the time to open one.", buckets=_WAIT_BUCKETS
)
QUERY_SECONDS = Histogram(
    "kamioi_db_query_seconds",
    "Duration of a query as seen by the application.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120),
)

RIGHTS_CHANGES = Counter("kamioi_rights_changes", "Changes of a user's or a role's rights.")
TRANSACTIONS = Counter("kamioi_transactions_processed", "Transactions processed, by their new status.", ["status"])


def scrape_allowed(*, address: str, authorization: str, forwarded: bool) -> bool:
    """Return whether a request may read the metrics: with the token, or directly from an allowed network.

    Args:
        address: of the peer.
        authorization: the header of that name.
        forwarded: the request came through a proxy. Then the peer is the proxy, which anyone can use, so only the
            token counts.
    """
    token: str = settings.METRICS_TOKEN
    if token and compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        return True
    if forwarded:
        return False
    return address_in(address, settings.METRICS_ALLOWED_NETWORKS)


def exposition(accept: str, *, with_collectors: bool = True) -> tuple[bytes, str]:
    """Return (body, content type) of a scrape in the format of its `Accept` header."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry(with_collectors=with_collectors)), content_type


def registry(*, with_collectors: bool = True, directory: Path | None = None) -> CollectorRegistry:
    """Return all metrics of this process; workers leave the collectors to the web.

    Args:
        directory: where processes write their counters, if not the default.
    """
    result = CollectorRegistry(auto_describe=False)
    result.register(_ProcessMetrics(directory))
    if with_collectors:
        result.register(metrics_collector)
    return result


class _ProcessMetrics(Collector):
    """The counters of this process, or of all processes that share the directory."""

    def __init__(self, directory: Path | None) -> None:
        shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._directory = directory or (Path(shared) if shared else None)

    def collect(self) -> Iterator[Metric]:
        if self._directory is None:
            yield from REGISTRY.collect()
            return
        with _locked(self._directory):
            _merge_dead_processes(self._directory)
            try:
                families = list(MultiProcessCollector(None, path=str(self._directory)).collect())
            except struct.error:  # a process is creating its file right now
                time.sleep(0.01)
                families = list(MultiProcessCollector(None, path=str(self._directory)).collect())
        yield from families


def clear_process_files(directory: Path) -> None:
    """Delete all counters in a directory; only safe while none of its processes is running."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.db"):
        path.unlink(missing_ok=True)


def _merge_dead_processes(directory: Path) -> None:
    """Add the counters of dead processes to the files of process 0, and delete theirs.

    Children are replaced all the time (every thousand tasks, after a crash): their counts must stay, but not
    thousands of files.
    """
    for path in directory.glob("*.db"):
        kind, _, pid = path.stem.rpartition("_")
        if not pid.isdecimal() or pid == "0" or _is_running(int(pid)):
            continue
        if not kind.startswith("gauge"):
            merged = MmapedDict(str(directory / f"{kind}_0.db"))
            # A process may have left its file half written: keep what can be read.
            with contextlib.suppress(struct.error, RuntimeError, UnicodeDecodeError, IndexError):
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                    merged.write_value(key, merged.read_value(key)[0] + value, 0.0)
            merged.close()
        path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Admit one reader at a time: another must not see counts in two files, or in none."""
    with (directory / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Explicitly, not by closing: a child forked meanwhile has the file open too, and would keep the lock.
            fcntl.flock(handle, fcntl.LOCK_UN)
