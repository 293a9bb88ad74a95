"""The app of the project itself: it loads Celery, system checks, signal handlers and metrics with Django."""

import gc

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules


class KamioiSiteConfig(AppConfig):
    """Settings, URLs and conventions of the project."""

    name = "kamioi_site"

    def ready(self) -> None:
        """Load Celery, system checks, signal handlers, metrics and admin settings; start Sentry."""
        from unfold import fields  # noqa: PLC0415

        # Importing these before the apps are ready would fail. Each registers signals, checks or collectors.
        from kamioi_site import celery, checks  # noqa: F401, PLC0415
        from kamioi_site.admin import auth_devices  # noqa: F401, PLC0415
        from kamioi_site.auth import login_throttling, staff_sessions, two_factor  # noqa: F401, PLC0415
        from kamioi_site.http import request_context  # noqa: F401, PLC0415
        from kamioi_site.http.csp import json_block  # noqa: PLC0415
        from kamioi_site.observability.metrics import infrastructure  # noqa: F401, PLC0415

        # Register the admin settings of every app.
        autodiscover_modules("live_settings")
        fields.prettify_json = json_block
        if settings.SENTRY_DSN:
            from kamioi_site.observability import sentry  # noqa: PLC0415  # the SDK is slow to import

            sentry.init_sentry()
        # Objects created at start-up are never freed, so the collector can skip them.
        gc.freeze()
        gc.enable()
