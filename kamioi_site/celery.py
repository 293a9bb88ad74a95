"""The Celery application; tasks are defined in each app's `tasks`."""

import gc
import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.prod")

gc.disable()  # imports create no garbage; `KamioiSiteConfig.ready` turns it on again
app = Celery("kamioi", task_cls="kamioi_site.observability.metrics.workers:KamioiTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.setup_logging.connect(weak=False)
def _leave_logging_alone(**_: Any) -> None:
    """Keep Django's logging: workers and beat log like the web, with the same redaction."""
