"""The Celery application; tasks live in each app's `tasks.py` under the names of the design."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.prod")

app = Celery("kamioi", task_cls="kamioi_site.metrics.workers:KamioiTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
