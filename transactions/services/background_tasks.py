"""Long actions that somebody asked for: claimed once, with progress, and with an outcome whatever happens.

The row in `background_tasks` is the truth; a message only says "look at it". A worker that dies leaves the task
`running` with an old heartbeat; the sweep sends it again, and the work goes on where its own state says. So does a task
whose database went away in the middle.

Signs of life are written and judged by the clock of the database: a machine whose clock is wrong takes no work from others.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
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
from transactions.models import BackgroundTask, User

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
# Tasks that one sweep sends. All that a lost broker held is sent again in minutes, and a long queue does not fill it.
SWEEP_AT_ONCE = 1000
# The database is away, restarts, or has no room: no fault of the task, which goes on when it is back.
PASSING: Final = (OperationalError, InterfaceError)
# The kind of event that streams of tasks listen to.
EVENTS = "task"


def create_task(*, name: str, user: User | None, arguments: dict[str, Any]) -> BackgroundTask:
    """A queued task; `send_task` sends its message."""
    return BackgroundTask.objects.create(name=name, user=user, arguments=arguments)


def get_or_create_task(*, name: str, actor: User | None) -> BackgroundTask:
    """Ask for a task that takes no arguments; one that waits or runs already is the one."""
    with transaction.atomic():
        open_ = BackgroundTask.objects.filter(
            name=name, status__in=[BackgroundTask.Status.QUEUED, BackgroundTask.Status.RUNNING]
        ).first()
        if open_ is not None:
            return open_
        task = create_task(name=name, user=actor, arguments={})
        send_task(task=task)
    return task


def send_task(*, task: BackgroundTask) -> None:
    """Send the message after this transaction commits. Without a broker the sweep sends it later."""
    transaction.on_commit(partial(_send, task.name, str(task.pk)))
    publish(EVENTS, str(task.pk))  # a failed one that is sent again is news


def _send(name: str, task_id: str) -> None:
    try:
        current_app.send_task(name, args=[task_id], retry=False, ignore_result=True)
    except BROKER_ERRORS:
        logger.warning("the broker is away: the sweep will send task %s", task_id)


def retry_task(*, task_id: UUID | str) -> bool:
    """Send a failed task again, for another round of attempts from where its own state says; False when it has not failed.

    Two people who press the button at once send it once.
    """
    with transaction.atomic():
        failed = BackgroundTask.objects.filter(pk=task_id, status=BackgroundTask.Status.FAILED)
        if not failed.update(status=BackgroundTask.Status.QUEUED, attempts=0, error="", finished_at=None):
            return False
        send_task(task=BackgroundTask.objects.get(pk=task_id))
    return True


@contextmanager
def run_task(*, task_id: UUID | str) -> Iterator[BackgroundTask | None]:
    """Claim the task and run the block as it; `None` when it is done already or another worker is at it.

    An error of the domain fails the task with its message. Any other error fails it too and goes on upwards, but for a
    database that went away: then the sweep sends the task again, `MAX_ATTEMPTS` times in all.
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
    except PASSING as error:
        logger.warning("task %s is put back: %s", task_id, error)
        _requeue(task, error)
    except Exception as error:
        _finish(task, BackgroundTask.Status.FAILED, error=f"unexpected: {type(error).__name__}")
        raise
    else:
        _finish(task, BackgroundTask.Status.COMPLETED)


def _claim(task_id: UUID | str) -> BackgroundTask | None:
    free = Q(status=BackgroundTask.Status.QUEUED) | Q(
        status=BackgroundTask.Status.RUNNING, heartbeat_at__lt=Now() - settings.TASK_SILENCE
    )
    claimed = BackgroundTask.objects.filter(free, pk=task_id).update(
        status=BackgroundTask.Status.RUNNING, started_at=Now(), heartbeat_at=Now(), attempts=F("attempts") + 1
    )
    if not claimed:
        return None
    publish(EVENTS, str(task_id))
    return BackgroundTask.objects.get(pk=task_id)


def _current_attempt(task: BackgroundTask) -> QuerySet[BackgroundTask]:
    """The row while this attempt has it. One that was taken for dead has no say any more."""
    return BackgroundTask.objects.filter(pk=task.pk, attempts=task.attempts, finished_at=None)


def heartbeat(*, task: BackgroundTask, progress: int, total: int | None = None) -> None:
    """Say how far it is; also the sign of life."""
    task.progress, task.total, task.heartbeat_at = progress, total, timezone.now()
    _current_attempt(task).update(progress=progress, total=total, heartbeat_at=Now())
    publish(EVENTS, str(task.pk))


@contextmanager
def heartbeat_thread(
    *, task: BackgroundTask, every: timedelta = timedelta(seconds=5)
) -> Iterator[Callable[[int], None]]:
    """Signs of life and progress while the block is in one long statement or transaction, over a connection of their own.

    The block gets a function to say how far it is; what was said last is written every few seconds.
    """
    over, said = Event(), [task.progress]

    def beat() -> None:
        try:
            while not over.wait(every.total_seconds()):
                _current_attempt(task).update(heartbeat_at=Now(), progress=said[0])
        finally:
            connection.close()  # this thread's own

    def tell(progress: int) -> None:
        said[0] = progress

    thread = Thread(target=beat, daemon=True, name=f"alive-{task.pk}")
    thread.start()
    try:
        yield tell
    finally:
        over.set()
        thread.join()


def _finish(task: BackgroundTask, status: str, *, error: str = "") -> None:
    task.status, task.error, task.finished_at = status, error, timezone.now()
    # The result and what it counts, with the outcome.
    written = {name: getattr(task, name) for name in ("status", "error", "finished_at", "progress", "total", "result")}
    if not _current_attempt(task).update(**written):
        logger.warning("task %s ended after another worker had taken it", task.pk)
    publish(EVENTS, str(task.pk))


def _requeue(task: BackgroundTask, error: Exception) -> None:
    """For the sweep. When the database is still away, silence says the same a little later."""
    try:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        _current_attempt(task).update(status=BackgroundTask.Status.QUEUED, error=f"put back: {type(error).__name__}")
    except DatabaseError:
        return
    publish(EVENTS, str(task.pk))


def recover_stuck_tasks(*, now: datetime | None = None) -> int:
    """Send what lost its message or its worker again, and give up what failed too often. Returns how many were sent.

    Args:
        now: the time to judge by; that of the database when not given.
    """
    judged = Now() if now is None else Value(now)
    lost = BackgroundTask.objects.filter(
        Q(status=BackgroundTask.Status.QUEUED, created_at__lt=judged - settings.TASK_UNANSWERED)
        # Created by a machine whose clock runs ahead.
        | Q(status=BackgroundTask.Status.QUEUED, created_at__gt=judged + settings.TASK_UNANSWERED)
        | Q(status=BackgroundTask.Status.RUNNING, heartbeat_at__lt=judged - settings.TASK_SILENCE)
    )
    hopeless = list(lost.filter(attempts__gte=MAX_ATTEMPTS).values_list("pk", flat=True))
    lost.filter(pk__in=hopeless).update(
        status=BackgroundTask.Status.FAILED, error=f"given up after {MAX_ATTEMPTS} attempts", finished_at=Now()
    )
    for task_id in hopeless:
        publish(EVENTS, str(task_id))
    tasks = list(lost.filter(attempts__lt=MAX_ATTEMPTS).order_by("created_at")[:SWEEP_AT_ONCE])
    for task in tasks:
        send_task(task=task)
    return len(tasks)
