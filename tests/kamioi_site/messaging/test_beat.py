"""Beat gets over a clock that was wrong."""

from datetime import UTC, datetime, timedelta

import pytest
from django_celery_beat.models import PeriodicTask

from kamioi_site.celery import app
from kamioi_site.messaging.beat import Scheduler

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
NOW = datetime(2026, 11, 3, 12, 0, 30, tzinfo=UTC)


def _scheduler(monkeypatch: pytest.MonkeyPatch) -> tuple[Scheduler, list[str]]:
    sent: list[str] = []
    scheduler = Scheduler(app=app, lazy=True)
    scheduler._finalize.cancel()  # nothing must be written at exit
    monkeypatch.setattr(scheduler, "apply_async", lambda entry, **_: sent.append(entry.task))
    return scheduler, sent


def _ticks(scheduler: Scheduler, time_machine, *, seconds: int) -> None:
    for _ in range(seconds // 5):
        scheduler.tick()
        time_machine.shift(5)


def test_a_last_run_that_lies_ahead_keeps_no_task_silent(monkeypatch, time_machine) -> None:
    time_machine.move_to(NOW, tick=False)
    PeriodicTask.objects.update(last_run_at=NOW + timedelta(hours=6))
    scheduler, sent = _scheduler(monkeypatch)
    _ticks(scheduler, time_machine, seconds=120)
    assert "sweep_stuck" in sent


def test_a_clock_that_is_set_back_while_beat_runs_keeps_no_task_silent(monkeypatch, time_machine) -> None:
    time_machine.move_to(NOW + timedelta(hours=6), tick=False)
    PeriodicTask.objects.update(last_run_at=None)
    scheduler, sent = _scheduler(monkeypatch)
    _ticks(scheduler, time_machine, seconds=120)
    assert "sweep_stuck" in sent
    sent.clear()
    time_machine.move_to(NOW, tick=False)
    _ticks(scheduler, time_machine, seconds=120)
    assert sent.count("sweep_stuck") in {1, 2, 3}
