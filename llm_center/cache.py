"""Cached reads of the LLM Center and what voids them.

`LLM` is the generation of everything that shows proposals and decisions (dashboards, lists of mappings); `QUEUE` that of
the review queue, which `transactions` voids too when purchases of unknown merchants come in.
"""

from typing import Final

from kamioi_site.cache.namespaces import CacheFamily, generations_bump
from transactions.services.processing import REVIEW_QUEUE

LLM: Final = "llm"
QUEUE: Final = REVIEW_QUEUE
QUEUE_COUNT = CacheFamily("llm:queue:count", ttl=30, generation=QUEUE)


def mappings_changed() -> None:
    """Proposals or decisions were written: call it in their transaction."""
    generations_bump((LLM, QUEUE))
