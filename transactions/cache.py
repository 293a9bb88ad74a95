"""What is cached about customers, and what voids it.

Lists of a customer's transactions, and sums over them, live under one generation a customer: whoever writes transactions
says so with `customers_changed`. Nobody else's lists are touched.
"""

from collections.abc import Iterable
from typing import Final

from kamioi_site.cache import CacheFamily, generations_bump

_GENERATION: Final = "transactions:user:{user_id}"

TRANSACTIONS: Final = CacheFamily("transactions:user:{user_id}:{page}", ttl=300, generation=_GENERATION)
"""Pages of a customer's list, and sums over it, by what was asked for."""


def customers_changed(user_ids: Iterable[int]) -> None:
    """These customers' transactions changed, or change with this database transaction."""
    generations_bump(_GENERATION.format(user_id=user_id) for user_id in set(user_ids))
