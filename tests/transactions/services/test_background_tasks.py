"""Background tasks: always exactly one outcome."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db.models.functions import Now
from django.utils import timezone

from kamioi_site.imports.rows import ImportBusyError
from transactions.models import BackgroundTask
from transactions.services.background_tasks import create_task, heartbeat, recover_stuck_tasks, run_task

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def _task() -> BackgroundTask:
    return create_task(name="process_backlog", user=None, arguments={})


@pytest.mark.parametrize("error", [OperationalError("the server closed the connection"), ImportBusyError()])
def test_a_task_that_loses_its_database_is_requeued_and_resumes(error: Exception) -> None:
    task = _task()
    with run_task(task_id=task.pk):
        raise error
    task.refresh_from_db()
    assert (task.status, task.attempts, task.finished_at) == ("queued", 1, None)
    assert recover_stuck_tasks(now=timezone.now() + HOUR) == 1
    with run_task(task_id=task.pk) as again:
        assert again is not None
    task.refresh_from_db()
    assert (task.status, task.error) == ("completed", "")


def test_a_task_fails_when_the_database_stays_unavailable() -> None:
    task = _task()
    for _ in range(5):
        with run_task(task_id=task.pk):
            raise OperationalError("no room")
    assert recover_stuck_tasks(now=timezone.now() + HOUR) == 0
    task.refresh_from_db()
    assert (task.status, task.error) == ("failed", "given up after 5 attempts")


def test_an_attempt_that_was_taken_for_dead_writes_nothing() -> None:
    task = _task()
    with run_task(task_id=task.pk) as first:
        assert first is not None
        BackgroundTask.objects.update(heartbeat_at=Now() - HOUR)
        with run_task(task_id=task.pk) as second:
            assert second is not None
            second.progress = 7
        heartbeat(task=first, progress=1)
        first.result = {"of": "the dead"}
    task.refresh_from_db()
    assert (task.status, task.progress, task.result, task.attempts) == ("completed", 7, {}, 2)


def test_a_machine_whose_clock_is_ahead_takes_no_work_from_others(time_machine) -> None:
    task = _task()
    with run_task(task_id=task.pk) as first:
        time_machine.move_to(timezone.now() + 2 * HOUR)
        assert recover_stuck_tasks() == 0
        with run_task(task_id=task.pk) as second:
            assert second is None
        assert first is not None
    task.refresh_from_db()
    assert task.status == "completed"


def test_a_task_created_by_a_machine_whose_clock_is_ahead_is_resent() -> None:
    BackgroundTask.objects.filter(pk=_task().pk).update(created_at=Now() + 2 * HOUR)
    assert recover_stuck_tasks() == 1
