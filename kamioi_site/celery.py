"""The Celery application; tasks live in each app's `tasks.py` under the names of the design."""

import gc
import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.prod")

gc.disable()  # importing makes no garbage; `KamioiSiteConfig.ready` turns it on again
app = Celery("kamioi", task_cls="kamioi_site.observability.metrics.workers:KamioiTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.setup_logging.connect(weak=False)
def _leave_logging_alone(**_: Any) -> None:
    """Django has set it up: workers and beat log like the web, through the same redaction."""
