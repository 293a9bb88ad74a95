"""Event streams in Django's own ASGI application: each stream polls its task, and holds a thread while it does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse

application = get_asgi_application()

from kamioi_site.http.server_sent_events import Event, load_events  # noqa: E402
from transactions.api.views import tasks  # noqa: E402

_POLL_SECONDS = 0.5


def _events_response(
    request: HttpRequest, *, source: str, key: str, caller: str, event: Event
) -> StreamingHttpResponse:
    return StreamingHttpResponse(_poll(source, key, event), content_type="text/event-stream")


async def _poll(source: str, key: str, event: Event) -> AsyncIterator[str]:
    yield event.text
    while not event.done:
        await asyncio.sleep(_POLL_SECONDS)
        newer: Any = (await sync_to_async(load_events)(source, [key])).get(key)
        if newer is None:
            return
        if newer.number > event.number:
            event = newer
            yield event.text


tasks.events_response = _events_response  # type: ignore[assignment]
