"""Long-running actions in the background: claimed once, with progress, and always with an outcome.

The row in `background_tasks` is the truth; a message only wakes a worker. A worker that dies leaves the
task `running` with an old heartbeat. The sweep then sends it again, and the work resumes from its own state; so does a
task whose database connection was lost.

Heartbeats are written and compared by the clock of the database, so a machine whose clock is wrong takes no work from
others.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial, wraps
from threading import Event, Thread
from typing import Any, Final
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from kamioi_site.errors import KamioiError
from kamioi_site.http.server_sent_events import publish
from kamioi_site.messaging.broker import BROKER_ERRORS
from transactions.errors import TaskTakenOverError
from transactions.models import BackgroundTask, User

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
# Tasks that one sweep sends: enough to resend all messages of a lost broker within minutes, without flooding it.
SWEEP_LIMIT = 1000
# The database is unavailable or out of resources: not the task's fault, which resumes later.
TRANSIENT_ERRORS: Final = (OperationalError, InterfaceError)
# The topic of server-sent events about tasks.
EVENTS = "task"


def create_task(*, name: str, user: User | None, arguments: dict[str, Any]) -> BackgroundTask:
    """Create a queued task; `send_task` sends its message."""
    return BackgroundTask.objects.create(name=name, user=user, arguments=arguments)


def get_or_create_task(*, name: str, actor: User | None) -> BackgroundTask:
    """Return the open task of this name, or create and send one. For tasks without arguments."""
    with transaction.atomic():
        task = BackgroundTask.objects.filter(name=name, status__in=BackgroundTask.OPEN).first()
        if task is not None:
            return task
        task = create_task(name=name, user=actor, arguments={})
        send_task(task=task)
    return task


def send_task(*, task: BackgroundTask) -> None:
    """Send the message after this transaction commits. If the broker is unavailable, the sweep sends it later."""
    transaction.on_commit(partial(_send, task.name, str(task.pk)))
    publish(EVENTS, str(task.pk))  # the status of a retried task has changed


def _send(name: str, task_id: str) -> None:
    try:
        current_app.send_task(name, args=[task_id], retry=False, ignore_result=True)
    except BROKER_ERRORS:
        logger.warning("the broker is unavailable: the sweep will send task %s", task_id)


def retry_task(*, task_id: UUID | str) -> bool:
    """Send a failed task again for another round of attempts; return False when it has not failed.

    Two simultaneous calls send it once.
    """
    with transaction.atomic():
        failed = BackgroundTask.objects.filter(pk=task_id, status=BackgroundTask.Status.FAILED)
        if not failed.update(status=BackgroundTask.Status.QUEUED, attempts=0, error="", finished_at=None):
            return False
        send_task(task=BackgroundTask.objects.get(pk=task_id))
    return True


def cancel_task(*, task: BackgroundTask) -> bool:
    """End an open task in the caller's transaction; return False when it has ended.

    A worker that runs it can write no more progress or result, but has to find out that it should stop.
    """
    open_task = BackgroundTask.objects.filter(pk=task.pk, status__in=BackgroundTask.OPEN)
    if not open_task.update(status=BackgroundTask.Status.CANCELLED, finished_at=Now()):
        return False
    task.status = BackgroundTask.Status.CANCELLED
    publish(EVENTS, str(task.pk))
    return True


@contextmanager
def run_task(*, task_id: UUID | str) -> Iterator[BackgroundTask | None]:
    """Claim the task and yield it; yield None when it is done or another worker runs it.

    A `KamioiError` fails the task with its message. Any other error fails it too and is re-raised, except when the
    database is unavailable: then the sweep sends the task again, up to `MAX_ATTEMPTS` times in all.
    """
    task = _claim(task_id)
    if task is None:
        yield None
        return
    try:
        yield task
    except KamioiError as error:
        if error.passing:
            _requeue(task, error)
        else:
            _finish(task, BackgroundTask.Status.FAILED, error=str(error))
    except TRANSIENT_ERRORS as error:
        logger.warning("task %s is requeued: %s", task_id, error)
        _requeue(task, error)
    except Exception as error:
        _finish(task, BackgroundTask.Status.FAILED, error=f"unexpected: {type(error).__name__}")
        raise
    else:
        _finish(task, BackgroundTask.Status.COMPLETED)


def claim_first(run: Callable[[BackgroundTask], None]) -> Callable[..., None]:
    """Call the function with the claimed task of a given `task_id`, or not at all; see `run_task`."""

    @wraps(run)
    def claim_and_run(task_id: UUID | str) -> None:
        with run_task(task_id=task_id) as task:
            if task is not None:
                run(task)

    return claim_and_run


def _claim(task_id: UUID | str) -> BackgroundTask | None:
    claimable = Q(status=BackgroundTask.Status.QUEUED) | Q(
        status=BackgroundTask.Status.RUNNING, heartbeat_at__lt=Now() - settings.TASK_SILENCE
    )
    claimed = BackgroundTask.objects.filter(claimable, pk=task_id).update(
        status=BackgroundTask.Status.RUNNING, started_at=Now(), heartbeat_at=Now(), attempts=F("attempts") + 1
    )
    if not claimed:
        return None
    publish(EVENTS, str(task_id))
    return BackgroundTask.objects.get(pk=task_id)


def _current_attempt(task: BackgroundTask) -> QuerySet[BackgroundTask]:
    """Return the row if this attempt still owns it: an attempt that was taken for dead must not write any more."""
    return BackgroundTask.objects.filter(pk=task.pk, attempts=task.attempts, finished_at=None)


def heartbeat(*, task: BackgroundTask, progress: int, total: int | None = None) -> None:
    """Write the progress, which also proves that the worker is alive."""
    task.progress, task.total, task.heartbeat_at = progress, total, timezone.now()
    _current_attempt(task).update(progress=progress, total=total, heartbeat_at=Now())
    publish(EVENTS, str(task.pk))


def store_result(*, task: BackgroundTask, result: dict[str, Any]) -> None:
    """Write an intermediate result in the transaction of the work that it counts.

    Raises:
        TaskTakenOverError: this attempt was taken for dead, and its work must not be committed.
    """
    if not _current_attempt(task).update(result=result, heartbeat_at=Now()):
        raise TaskTakenOverError


@contextmanager
def heartbeat_thread(
    *, task: BackgroundTask, every: timedelta = timedelta(seconds=5)
) -> Iterator[Callable[[int], None]]:
    """Write heartbeats over a second connection while the block runs one long statement or transaction.

    Yields a function that takes the current progress; the latest value is written with each heartbeat.
    """
    stop, latest = Event(), [task.progress]

    def beat() -> None:
        try:
            while not stop.wait(every.total_seconds()):
                _current_attempt(task).update(heartbeat_at=Now(), progress=latest[0])
        finally:
            connection.close()  # the thread has its own

    def set_progress(progress: int) -> None:
        latest[0] = progress

    thread = Thread(target=beat, daemon=True, name=f"heartbeat-{task.pk}")
    thread.start()
    try:
        yield set_progress
    finally:
        stop.set()
        thread.join()


def _finish(task: BackgroundTask, status: str, *, error: str = "") -> None:
    task.status, task.error, task.finished_at = status, error, timezone.now()
    changes = {name: getattr(task, name) for name in ("status", "error", "finished_at", "progress", "total", "result")}
    if not _current_attempt(task).update(**changes):
        logger.warning("task %s ended after another worker had claimed it", task.pk)
    publish(EVENTS, str(task.pk))


def _requeue(task: BackgroundTask, error: Exception) -> None:
    """Leave the task to the sweep. If the database stays unavailable, its old heartbeat has the same effect later."""
    try:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        _current_attempt(task).update(status=BackgroundTask.Status.QUEUED, error=f"requeued: {type(error).__name__}")
    except DatabaseError:
        return
    publish(EVENTS, str(task.pk))


def recover_stuck_tasks(*, now: datetime | None = None) -> int:
    """Resend tasks that lost their message or worker; fail those with too many attempts. Returns how many are sent.

    Args:
        now: the reference time; the database's when not given.
    """
    reference = Now() if now is None else Value(now)
    lost = BackgroundTask.objects.filter(
        Q(status=BackgroundTask.Status.QUEUED, created_at__lt=reference - settings.TASK_UNANSWERED)
        # created by a machine whose clock is ahead
        | Q(status=BackgroundTask.Status.QUEUED, created_at__gt=reference + settings.TASK_UNANSWERED)
        | Q(status=BackgroundTask.Status.RUNNING, heartbeat_at__lt=reference - settings.TASK_SILENCE)
    )
    exhausted = list(lost.filter(attempts__gte=MAX_ATTEMPTS).values_list("pk", flat=True))
    lost.filter(pk__in=exhausted).update(
        status=BackgroundTask.Status.FAILED, error=f"given up after {MAX_ATTEMPTS} attempts", finished_at=Now()
    )
    for task_id in exhausted:
        publish(EVENTS, str(task_id))
    tasks = list(lost.filter(attempts__lt=MAX_ATTEMPTS).order_by("created_at")[:SWEEP_LIMIT])
    for task in tasks:
        send_task(task=task)
    return len(tasks)
