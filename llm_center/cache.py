"""Cached reads of the LLM Center and what voids them.

`LLM` is the generation of everything that shows proposals and decisions (dashboards, lists of mappings); `QUEUE` that of
the review queue, which `transactions` voids too when purchases of unknown merchants come in.
"""

from typing import Final

from kamioi_site.cache.namespaces import CacheNamespace, invalidate_caches
from transactions.services.processing import REVIEW_QUEUE

LLM: Final = "llm"
QUEUE: Final = REVIEW_QUEUE
QUEUE_COUNT = CacheNamespace("llm:queue:count", ttl=30, generation=QUEUE)


def invalidate_mappings() -> None:
    """Proposals or decisions were written: call it in their transaction."""
    invalidate_caches((LLM, QUEUE))
