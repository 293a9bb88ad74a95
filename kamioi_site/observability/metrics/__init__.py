"""What Prometheus reads: counters of every process, and figures of the whole system asked for at the scrape.

Two kinds of metrics, one answer (`registry()`), served by the web at `/metrics` and by each Celery worker on
`KAMIOI_WORKER_METRICS_PORT`:
- **Counted where it happens** (requests, tasks, waits for a connection): `prometheus_client` counters, histograms and
  `livesum` gauges. With `PROMETHEUS_MULTIPROC_DIR` every process writes a file there and whoever is scraped adds them
  up. Processes on one machine may share a directory; containers must not (process ids would meet).
- **Asked for** (queues, database, money): groups of figures registered with `collector`, see `figures.py`.

Names begin with `kamioi_`. Labels are bounded: routes are templates, never paths; nothing of a customer is a label.
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

# Decided at the first import of prometheus_client. A worker with a port of its own needs no shared directory.
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
from kamioi_site.observability.metrics.collectors import Metrics, collector, metrics_collector

__all__ = [
    "EVENT_STREAMS",
    "HTTP_IN_FLIGHT",
    "HTTP_REQUESTS",
    "HTTP_SECONDS",
    "HTTP_SHED",
    "OWN_DIRECTORY",
    "POOL_IN_USE",
    "POOL_LIMIT",
    "POOL_WAIT_SECONDS",
    "QUERY_SECONDS",
    "TASKS",
    "TASKS_RUNNING",
    "TASK_SECONDS",
    "TASK_WAIT_SECONDS",
    "TRANSACTIONS",
    "WORKER_PROCESSES",
    "Metrics",
    "clear_process_files",
    "collector",
    "exposition",
    "registry",
    "scrape_allowed",
]

# 0.2 is the promise: 95 of 100 API calls are answered within it.
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30)
_TASK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 1200, 3600)
_WAIT_BUCKETS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 30)

HTTP_REQUESTS = Counter("kamioi_http_requests", "Requests answered.", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "kamioi_http_request_seconds",
    "From the request, its wait for a thread included, to the start of its answer.",
    ["method", "route"],
    buckets=_REQUEST_BUCKETS,
)
HTTP_SHED = Counter("kamioi_http_requests_shed", "Requests refused because they waited too long for a thread.")
HTTP_IN_FLIGHT = Gauge("kamioi_http_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")

EVENT_STREAMS = Gauge("kamioi_event_streams", "Server-sent event streams that are open.", multiprocess_mode="livesum")

TASKS = Counter(
    "kamioi_tasks",
    "Runs of tasks by outcome: success, failure, retry, rejected, ignored, lost (the process died), timeout.",
    ["task", "queue", "outcome"],
)
TASK_SECONDS = Histogram("kamioi_task_seconds", "How long a run took.", ["task"], buckets=_TASK_BUCKETS)
TASK_WAIT_SECONDS = Histogram(
    "kamioi_task_wait_seconds", "From sending a message to the start of its task.", ["queue"], buckets=_TASK_BUCKETS
)
TASKS_RUNNING = Gauge(
    "kamioi_tasks_running", "Processes of a pool that run a task.", ["pool"], multiprocess_mode="livesum"
)
WORKER_PROCESSES = Gauge("kamioi_worker_processes", "Processes of a pool.", ["pool"], multiprocess_mode="livesum")

POOL_IN_USE = Gauge(
    "kamioi_db_pool_connections_in_use", "Connections lent by the pools of this service.", multiprocess_mode="livesum"
)
POOL_LIMIT = Gauge(
    "kamioi_db_pool_connections_limit",
    "Most connections that the pools of this service may open.",
    multiprocess_mode="livesum",
)
POOL_WAIT_SECONDS = Histogram(
    "kamioi_db_pool_wait_seconds", "Wait for a connection of the pool; opening one counts.", buckets=_WAIT_BUCKETS
)
QUERY_SECONDS = Histogram(
    "kamioi_db_query_seconds",
    "Time of a statement as the application sees it.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120),
)

TRANSACTIONS = Counter("kamioi_transactions_processed", "Transactions moved on, by the status they got.", ["status"])


def scrape_allowed(*, address: str, authorization: str, forwarded: bool) -> bool:
    """Whether somebody may read the metrics: with the token, or straight from an allowed network.

    Args:
        address: of the peer.
        authorization: the header of that name.
        forwarded: the request says that it came through a proxy. Then the peer is the proxy, which any stranger may
            use, so only the token counts.
    """
    token: str = settings.METRICS_TOKEN
    if token and compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        return True
    if forwarded:
        return False
    return address_in(address, settings.METRICS_ALLOWED_NETWORKS)


def exposition(accept: str, *, with_figures: bool = True) -> tuple[bytes, str]:
    """The answer to a scrape in the format that its `Accept` header asks for: (body, content type)."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry(with_figures=with_figures)), content_type


def registry(*, with_figures: bool = True, directory: Path | None = None) -> CollectorRegistry:
    """Everything there is to scrape here. Workers leave the figures of the whole system to the web.

    Args:
        directory: where processes count, when it is not this process's own.
    """
    found = CollectorRegistry(auto_describe=False)
    found.register(_Counted(directory))
    if with_figures:
        found.register(metrics_collector)
    return found


class _Counted(Collector):
    """What processes counted: this one alone, or all that share the directory."""

    def __init__(self, directory: Path | None) -> None:
        shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._directory = directory or (Path(shared) if shared else None)

    def collect(self) -> Iterator[Metric]:
        if self._directory is None:
            yield from REGISTRY.collect()
            return
        with _locked(self._directory):
            _dead_fold(self._directory)
            try:
                found = list(MultiProcessCollector(None, path=str(self._directory)).collect())
            except struct.error:  # a process made its file this very moment
                time.sleep(0.01)
                found = list(MultiProcessCollector(None, path=str(self._directory)).collect())
        yield from found


def clear_process_files(directory: Path) -> None:
    """Forget everything counted in a directory. Only while none of its processes lives: at the start of a machine."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.db"):
        path.unlink(missing_ok=True)


def _dead_fold(directory: Path) -> None:
    """Add what dead processes counted to the files of process 0 and drop theirs.

    Children are replaced all the time (every thousand tasks, after a crash): their counts must stay, and their files
    would become thousands.
    """
    for path in directory.glob("*.db"):
        kind, _, pid = path.stem.rpartition("_")
        if not pid.isdecimal() or pid == "0" or _lives(int(pid)):
            continue
        if not kind.startswith("gauge"):
            kept = MmapedDict(str(directory / f"{kind}_0.db"))
            # A file that its process left half written: what can be read of it is kept.
            with contextlib.suppress(struct.error, RuntimeError, UnicodeDecodeError, IndexError):
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                    kept.write_value(key, kept.read_value(key)[0] + value, 0.0)
            kept.close()
        path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One reader at a time: another one must not see counts in two files, or in none."""
    with (directory / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Said, not left to the closing: a child forked meanwhile has the file open too, and would hold the lock.
            fcntl.flock(handle, fcntl.LOCK_UN)
