"""Django's own ASGI application, which holds a thread for each stream."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()
