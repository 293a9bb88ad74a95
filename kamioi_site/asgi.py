"""ASGI entry point, served by gunicorn with uvicorn workers."""

import gc
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.prod")

gc.disable()  # imports create no garbage; `KamioiSiteConfig.ready` turns it on again
django.setup(set_prefix=False)

# The event loop waits up to this long for a thread that computes, several times a request; the default is 5 ms.
sys.setswitchinterval(0.001)

# These imports need the apps.
from kamioi_site.http.asgi_handler import ThreadedASGIHandler  # noqa: E402
from kamioi_site.http.event_streams import EventStreamsMiddleware  # noqa: E402

application = EventStreamsMiddleware(ThreadedASGIHandler())
