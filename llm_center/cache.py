"""Cached reads of the LLM Center and their invalidation.

`LLM` is the generation of everything that shows proposals and decisions (dashboards, lists of mappings). `QUEUE` is the
generation of the review queue, which also changes when transactions start or stop waiting for a decision.
"""

from typing import Any, Final

from kamioi_site.cache.namespaces import CacheNamespace, invalidate_cache, invalidate_caches
from kamioi_site.http.server_sent_events import publish

LLM: Final = "llm"
QUEUE: Final = "llm:queue"
# The source and the only key of the server-sent events of the review queue (`llm_center.events`).
QUEUE_EVENTS: Final = "review-queue"
QUEUE_TOTALS: Final = "totals"
QUEUE_COUNT = CacheNamespace("llm:queue:count", ttl=30, generation=QUEUE)


def invalidate_mappings() -> None:
    """Invalidate after proposals or decisions were written; call it in their transaction."""
    invalidate_caches((LLM, QUEUE))
    publish(QUEUE_EVENTS, QUEUE_TOTALS)


def invalidate_review_queue(**_: Any) -> None:
    """Receive `transactions.cache.review_queue_changed`."""
    invalidate_cache(QUEUE)
    publish(QUEUE_EVENTS, QUEUE_TOTALS)
