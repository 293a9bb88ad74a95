"""The live totals of the review queue, as a source of server-sent events."""

import threading
import time
from collections.abc import Collection

from kamioi_site.http.server_sent_events import Event, register_event_source
from llm_center.cache import QUEUE_EVENTS
from llm_center.services.review.queue import queue_totals_cached

_lock = threading.Lock()
_latest = Event(0, {})


def review_queue_event() -> Event:
    """Return the current totals. Their number is the time in milliseconds when this process first saw them."""
    global _latest  # noqa: PLW0603
    merchants, count, amount = queue_totals_cached()
    data = {"merchants": f"{merchants:,}", "transactions": f"{count:,}", "amount": f"{amount:,}"}
    with _lock:
        if data != _latest.data:
            _latest = Event(max(time.time_ns() // 1_000_000, _latest.number + 1), data)
        return _latest


def _load(keys: Collection[str]) -> dict[str, Event]:
    return dict.fromkeys(keys, review_queue_event())


register_event_source(QUEUE_EVENTS, _load)
