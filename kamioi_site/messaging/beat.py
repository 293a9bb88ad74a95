"""The schedule in the database, of a beat that gets over a clock that was wrong.

A time of the last run that lies ahead (the clock was set back, or another machine's clock ran ahead) would keep a task
silent until that time has come. Here it counts as "just now".
"""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

logger = logging.getLogger(__name__)

# Clocks of machines that are in order differ by less, and are set back by less.
_DIFFERENCE = timedelta(seconds=5)


class Entry(ModelEntry):
    """A task of the schedule."""

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        """Take it from its row."""
        last = model.last_run_at or model.date_changed  # what stands for it before the first run
        if _is_ahead(last):
            logger.warning("%s is said to have run at %s, which has not come yet", model.name, last)
            model.last_run_at = timezone.now()
        super().__init__(model, app=app)


class Scheduler(DatabaseScheduler):
    """The scheduler of beat."""

    Entry = Entry
    _seen = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due. When the clock has gone back since the last time, the schedule is read anew."""
        now = time.time()
        if now < self._seen - _DIFFERENCE.total_seconds():
            logger.warning("the clock has gone back by %.0f seconds", self._seen - now)
            self.sync()
            self._schedule = self.all_as_schedule()
            self._heap: list[Any] = []
            self._heap_invalidated = True
            self._last_full_sync = datetime.now()  # noqa: DTZ005  # compared with such a one
        self._seen = now
        return float(super().tick(*args, **kwargs))


def _is_ahead(moment: datetime | None) -> bool:
    return moment is not None and moment > timezone.now() + _DIFFERENCE
