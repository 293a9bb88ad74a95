"""Long actions that somebody asked for: claimed once, with progress, and with an outcome whatever happens.

The row in `background_tasks` is the truth; a message only says "look at it". A worker that dies leaves the task
`running` with an old heartbeat; the sweep sends it again, and the work goes on where its own state says.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Thread
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from kamioi_site.broker import BROKER_ERRORS
from kamioi_site.errors import KamioiError
from kamioi_site.events import publish
from transactions.models import BackgroundTask, User

logger = logging.getLogger(__name__)

# A running task says so at least this often; one that is silent longer is taken for dead.
SILENCE = timedelta(seconds=120)
# A queued task whose message was lost is sent again after this time.
UNANSWERED = timedelta(seconds=60)
MAX_ATTEMPTS = 5
# The kind of event that streams of tasks listen to.
EVENTS = "task"


def task_create(*, name: str, user: User | None, arguments: dict[str, Any]) -> BackgroundTask:
    """A queued task; `task_send` sends its message."""
    return BackgroundTask.objects.create(name=name, user=user, arguments=arguments)


def task_send(*, task: BackgroundTask) -> None:
    """Send the message after this transaction commits. Without a broker the sweep sends it later."""
    transaction.on_commit(partial(_send, task.name, str(task.pk)))
    publish(EVENTS, str(task.pk))  # a failed one that is sent again is news


def _send(name: str, task_id: str) -> None:
    try:
        current_app.send_task(name, args=[task_id], retry=False, ignore_result=True)
    except BROKER_ERRORS:
        logger.warning("the broker is away: the sweep will send task %s", task_id)


def task_retry(*, task_id: UUID | str) -> bool:
    """Send a failed task again, for another round of attempts from where its own state says; False when it has not failed.

    Two people who press the button at once send it once.
    """
    with transaction.atomic():
        failed = BackgroundTask.objects.filter(pk=task_id, status=BackgroundTask.Status.FAILED)
        if not failed.update(status=BackgroundTask.Status.QUEUED, attempts=0, error="", finished_at=None):
            return False
        task_send(task=BackgroundTask.objects.get(pk=task_id))
    return True


@contextmanager
def task_run(*, task_id: UUID | str) -> Iterator[BackgroundTask | None]:
    """Claim the task and run the block as it; `None` when it is done already or another worker is at it.

    An error of the domain fails the task with its message. Any other error fails it too and goes on upwards.
    """
    task = _claim(task_id)
    if task is None:
        yield None
        return
    try:
        yield task
    except KamioiError as error:
        _finish(task, BackgroundTask.Status.FAILED, error=str(error))
    except Exception as error:
        _finish(task, BackgroundTask.Status.FAILED, error=f"unexpected: {type(error).__name__}")
        raise
    else:
        _finish(task, BackgroundTask.Status.COMPLETED)


def _claim(task_id: UUID | str) -> BackgroundTask | None:
    now = timezone.now()
    free = Q(status=BackgroundTask.Status.QUEUED) | Q(
        status=BackgroundTask.Status.RUNNING, heartbeat_at__lt=now - SILENCE
    )
    claimed = BackgroundTask.objects.filter(free, pk=task_id).update(
        status=BackgroundTask.Status.RUNNING, started_at=now, heartbeat_at=now, attempts=F("attempts") + 1
    )
    if not claimed:
        return None
    publish(EVENTS, str(task_id))
    return BackgroundTask.objects.get(pk=task_id)


def task_heartbeat(*, task: BackgroundTask, progress: int, total: int | None = None) -> None:
    """Say how far it is; also the sign of life."""
    task.progress, task.total, task.heartbeat_at = progress, total, timezone.now()
    task.save(update_fields=["progress", "total", "heartbeat_at"])
    publish(EVENTS, str(task.pk))


@contextmanager
def task_alive(*, task: BackgroundTask, every: timedelta = timedelta(seconds=5)) -> Iterator[Callable[[int], None]]:
    """Signs of life and progress while the block is in one long statement or transaction, over a connection of their own.

    The block gets a function to say how far it is; what was said last is written every few seconds.
    """
    over, said = Event(), [task.progress]

    def beat() -> None:
        try:
            while not over.wait(every.total_seconds()):
                BackgroundTask.objects.filter(pk=task.pk).update(heartbeat_at=timezone.now(), progress=said[0])
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
    task.save(update_fields=["status", "error", "finished_at", "progress", "total", "result"])
    publish(EVENTS, str(task.pk))


def background_sweep(*, now: datetime | None = None) -> int:
    """Send what lost its message or its worker again, and give up what failed too often. Returns how many were sent."""
    now = now or timezone.now()
    lost = BackgroundTask.objects.filter(
        Q(status=BackgroundTask.Status.QUEUED, created_at__lt=now - UNANSWERED)
        | Q(status=BackgroundTask.Status.RUNNING, heartbeat_at__lt=now - SILENCE)
    )
    hopeless = list(lost.filter(attempts__gte=MAX_ATTEMPTS).values_list("pk", flat=True))
    lost.filter(pk__in=hopeless).update(
        status=BackgroundTask.Status.FAILED, error=f"given up after {MAX_ATTEMPTS} attempts", finished_at=now
    )
    for task_id in hopeless:
        publish(EVENTS, str(task_id))
    tasks = list(lost.filter(attempts__lt=MAX_ATTEMPTS).order_by("created_at")[:100])
    for task in tasks:
        task_send(task=task)
    return len(tasks)
