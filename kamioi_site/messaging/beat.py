"""A database scheduler for beat that recovers from a wrong clock.

A last run in the future (the clock was set back, or another machine's clock was fast) would block a task until that
time. Here it counts as "just now".
"""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

logger = logging.getLogger(__name__)

# Synchronised clocks differ by less.
_CLOCK_TOLERANCE = timedelta(seconds=5)


class Entry(ModelEntry):
    """A scheduled task."""

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        last = model.last_run_at or model.date_changed  # used instead before the first run
        if _is_ahead(last):
            logger.warning("%s has a last run in the future: %s", model.name, last)
            model.last_run_at = timezone.now()
        super().__init__(model, app=app)


class Scheduler(DatabaseScheduler):
    """Beat's scheduler, set by `CELERY_BEAT_SCHEDULER`."""

    Entry = Entry
    _last_tick = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send the due tasks; if the clock was set back since the last tick, reload the schedule."""
        now = time.time()
        if now < self._last_tick - _CLOCK_TOLERANCE.total_seconds():
            logger.warning("the clock was set back by %.0f seconds", self._last_tick - now)
            self.sync()
            self._schedule = self.all_as_schedule()
            self._heap: list[Any] = []
            self._heap_invalidated = True
            self._last_full_sync = datetime.now()  # noqa: DTZ005  # django-celery-beat compares naive times
        self._last_tick = now
        return float(super().tick(*args, **kwargs))


def _is_ahead(moment: datetime | None) -> bool:
    return moment is not None and moment > timezone.now() + _CLOCK_TOLERANCE
