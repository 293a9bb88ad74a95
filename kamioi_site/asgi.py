"""ASGI entry point, served by gunicorn with uvicorn workers."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.prod")

django_application = get_asgi_application()

from kamioi_site.events import EventStreams  # noqa: E402  # needs the apps

application = EventStreams(django_application)
