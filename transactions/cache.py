"""Cached reads about customers and their invalidation.

A customer's lists of transactions, and sums over them, share one generation per customer. Code that writes transactions
calls `invalidate_customers`; other customers' cached values stay valid.
"""

from collections.abc import Iterable
from typing import Final

from django.dispatch import Signal

from kamioi_site.cache.namespaces import CacheNamespace, invalidate_caches

_GENERATION: Final = "transactions:user:{user_id}"
# Invalidated when the flag changes that selects the customers who are served from the legacy database.
READS_GENERATION: Final = "legacy:reads"

# Pages of a customer's list and sums over it. Computing one is cheaper than a lock, so concurrent misses all compute.
TRANSACTIONS: Final = CacheNamespace(
    "transactions:user:{user_id}:{page}", ttl=300, generation=_GENERATION, single_flight=False
)

# Sent, within the transaction that causes it, when transactions start or stop waiting for a decision on their merchant.
review_queue_changed = Signal()
# Sent when processing stored purchases whose merchant has no decision.
merchants_waiting = Signal()


def invalidate_customers(user_ids: Iterable[int]) -> None:
    """Invalidate the transactions of these customers, now and after the current transaction commits."""
    invalidate_caches(_GENERATION.format(user_id=user_id) for user_id in set(user_ids))
