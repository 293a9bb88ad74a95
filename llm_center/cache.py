"""Cached reads of the LLM Center and their invalidation.

`LLM` is the generation of everything that shows proposals and decisions (dashboards, lists of mappings). `QUEUE` is the
generation of the review queue, which also changes when transactions start or stop waiting for a decision.
"""

from typing import Any, Final

from kamioi_site.cache.namespaces import CacheNamespace, invalidate_cache, invalidate_caches

LLM: Final = "llm"
QUEUE: Final = "llm:queue"
QUEUE_COUNT = CacheNamespace("llm:queue:count", ttl=30, generation=QUEUE)


def invalidate_mappings() -> None:
    """Invalidate after proposals or decisions were written; call it in their transaction."""
    invalidate_caches((LLM, QUEUE))


def invalidate_review_queue(**_: Any) -> None:
    """Receive `transactions.cache.review_queue_changed`."""
    invalidate_cache(QUEUE)
