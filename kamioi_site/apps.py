"""Loads the Celery application with Django, so that `shared_task` finds its broker in every process."""

import gc

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules


class KamioiSiteConfig(AppConfig):
    """Settings, URLs and conventions of the project."""

    name = "kamioi_site"

    def ready(self) -> None:
        """Bind the Celery application, register the system checks and the figures for Prometheus."""
        from unfold import fields  # noqa: PLC0415

        # Importing these before the apps are ready would fail. Each registers signals, checks or collectors.
        from kamioi_site import celery, checks  # noqa: F401, PLC0415
        from kamioi_site.admin import auth_devices  # noqa: F401, PLC0415
        from kamioi_site.auth import login_throttling, two_factor  # noqa: F401, PLC0415
        from kamioi_site.http import request_context  # noqa: F401, PLC0415
        from kamioi_site.http.csp import json_block  # noqa: PLC0415
        from kamioi_site.observability.metrics import infrastructure  # noqa: F401, PLC0415

        # Register the admin settings of every app.
        autodiscover_modules("live_settings")
        fields.prettify_json = json_block
        if settings.SENTRY_DSN:
            from kamioi_site.observability import sentry  # noqa: PLC0415  # the SDK is slow to import

            sentry.init_sentry()
        # What start-up made stays: the collector need not visit it again.
        gc.freeze()
        gc.enable()
