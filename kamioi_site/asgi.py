"""ASGI entry point, served by gunicorn with uvicorn workers."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.prod")

django.setup(set_prefix=False)

from kamioi_site.events import EventStreams  # noqa: E402  # needs the apps
from kamioi_site.front import Front  # noqa: E402
from kamioi_site.handler import ThreadHandler  # noqa: E402

application = EventStreams(Front(ThreadHandler()))
