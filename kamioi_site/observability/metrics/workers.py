"""Celery metrics: task runs by outcome and duration, time in the queue, and how busy the pools are.

The processes of a pool count through Celery's signals. What kills a process is counted by its parent, through the
request class of the tasks. With `KAMIOI_WORKER_METRICS_PORT` a worker serves its metrics on that port (at
`KAMIOI_WORKER_METRICS_HOST`, default 127.0.0.1); `PROMETHEUS_MULTIPROC_DIR` combines its processes, and is created if
it is not set.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from billiard.exceptions import WorkerLostError
from celery import signals
from celery.app.task import Task
from celery.worker.request import Request

from kamioi_site.observability import metrics
from kamioi_site.observability.queues import SENT_HEADER

logger = logging.getLogger(__name__)

# Start of the running tasks of this process (monotonic seconds).
_started: dict[str, float] = {}
_pool = "solo"


class CountingRequest(Request):
    """A message in the parent of the pool, which counts the ends that the child process cannot count."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Count a kill by the hard time limit."""
        if not soft:
            self._count("timeout")
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Count a lost process; every other failure is counted by the process itself."""
        if isinstance(getattr(exc_info.exception, "exc", exc_info.exception), WorkerLostError):
            self._count("lost")
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def _count(self, outcome: str) -> None:
        metrics.TASKS.labels(self.name, _queue_of(self.delivery_info), outcome).inc()


class KamioiTask(Task):
    """The base class of every task."""

    abstract = True
    Request = "kamioi_site.observability.metrics.workers:CountingRequest"
    # Seconds until the message of a lost process is retried, `max_retries` (3) times.
    default_retry_delay = 1


def _queue_of(delivery_info: dict[str, Any] | None) -> str:
    return (delivery_info or {}).get("routing_key") or "none"


@signals.before_task_publish.connect(weak=False)
def _set_sent_at(headers: dict[str, Any], **_: Any) -> None:
    headers.setdefault(SENT_HEADER, time.time())


@signals.celeryd_init.connect(weak=False)
def _name_pool(sender: str, **_: Any) -> None:
    global _pool  # noqa: PLW0603  # a fact about the process, inherited by its children
    _pool = sender.partition("@")[0]


@signals.worker_process_init.connect(weak=False)
def _set_pool_size(**_: Any) -> None:
    metrics.WORKER_PROCESSES.labels(_pool).set(1)
    metrics.TASKS_RUNNING.labels(_pool).set(0)


@signals.task_prerun.connect(weak=False)
def _count_start(task_id: str, task: Any, **_: Any) -> None:
    if task.request.is_eager:
        return
    _started[task_id] = time.perf_counter()
    metrics.TASKS_RUNNING.labels(_pool).inc()
    sent_at = task.request.get(SENT_HEADER)
    # A task with an ETA or a retry has waited on purpose, not for a worker.
    if isinstance(sent_at, (int, float)) and not task.request.eta:
        waited = max(0.0, time.time() - sent_at)
        metrics.TASK_WAIT_SECONDS.labels(_queue_of(task.request.delivery_info)).observe(waited)


@signals.task_postrun.connect(weak=False)
def _count_end(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    started = _started.pop(task_id, None)
    if started is None:
        return
    metrics.TASKS_RUNNING.labels(_pool).dec()
    metrics.TASK_SECONDS.labels(task.name).observe(time.perf_counter() - started)
    outcome = (state or "unknown").lower()
    metrics.TASKS.labels(task.name, _queue_of(task.request.delivery_info), outcome).inc()


@signals.worker_ready.connect(weak=False)
def _serve(**_: Any) -> None:
    port = os.environ.get("KAMIOI_WORKER_METRICS_PORT")
    if port:
        serve_metrics(host=os.environ.get("KAMIOI_WORKER_METRICS_HOST", "127.0.0.1"), port=int(port))


@signals.worker_shutdown.connect(weak=False)
def _remove_own_directory(**_: Any) -> None:
    if metrics.OWN_DIRECTORY:
        shutil.rmtree(metrics.OWN_DIRECTORY, ignore_errors=True)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapes are not worth a line."""


def serve_metrics(*, host: str, port: int) -> WSGIServer:
    """Serve metrics in a thread, with the permissions of `/metrics` of the web; returns the server."""
    server = make_server(host, port, _application, handler_class=_QuietHandler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    logger.info("metrics at http://%s:%d/metrics", host, server.server_port)
    return server


def _application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    allowed = metrics.scrape_allowed(
        address=environ.get("REMOTE_ADDR", ""),
        authorization=environ.get("HTTP_AUTHORIZATION", ""),
        forwarded="HTTP_X_FORWARDED_FOR" in environ,
    )
    if environ.get("PATH_INFO") != "/metrics" or environ["REQUEST_METHOD"] not in {"GET", "HEAD"} or not allowed:
        start_response("404 Not Found", [("Content-Length", "0")])
        return [b""]
    body, content_type = metrics.exposition(environ.get("HTTP_ACCEPT", ""), with_collectors=False)
    start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
