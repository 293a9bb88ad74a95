"""Cached reads about customers and their invalidation.

A customer's lists of transactions, and sums over them, share one generation per customer. Code that writes transactions
calls `invalidate_customers`; other customers' cached values stay valid.
"""

from collections.abc import Iterable
from typing import Any, Final

from django.dispatch import Signal

from kamioi_site.cache.namespaces import CacheNamespace, invalidate_cache, invalidate_caches, response_generations

_TRANSACTIONS_GENERATION: Final = "transactions:user:{user_id}"
_USER_GENERATION: Final = "person:{user_id}"
# Invalidated when the flag changes that selects the customers who are served from the legacy database.
READS_GENERATION: Final = "legacy:reads"

# Pages of a customer's list and sums over it.
TRANSACTIONS: Final = CacheNamespace("transactions:user:{user_id}:{page}", ttl=300, generation=_TRANSACTIONS_GENERATION)

# What cached responses depend on (`kamioi_site.http.response_cache`).
response_generations.extend(
    [
        _TRANSACTIONS_GENERATION,
        _USER_GENERATION,
        TRANSACTIONS.own_generation.replace("{", "{{").replace("}", "}}"),  # a name, not a template
        READS_GENERATION,
    ]
)

# Sent, within the transaction that causes it, when transactions start or stop waiting for a decision on their merchant.
review_queue_changed = Signal()


def invalidate_customers(user_ids: Iterable[int]) -> None:
    """Invalidate the transactions of these customers, now and after the current transaction commits."""
    invalidate_caches(_TRANSACTIONS_GENERATION.format(user_id=user_id) for user_id in set(user_ids))


def invalidate_users(user_ids: Iterable[int]) -> None:
    """Invalidate the cached responses of these users: an account was closed, a token revoked or a role given.

    Saved models do this by themselves. Code that updates `users` or `api_tokens` in another way must call it.
    """
    invalidate_caches(_USER_GENERATION.format(user_id=user_id) for user_id in set(user_ids))


def user_saved(sender: Any, instance: Any, created: bool = False, **_: Any) -> None:
    """Receive `post_save` and `post_delete` of users."""
    if not created:
        invalidate_users([instance.pk])


def token_saved(sender: Any, instance: Any, created: bool = False, **_: Any) -> None:
    """Receive `post_save` and `post_delete` of tokens; a new token invalidates nothing."""
    if not created:
        invalidate_users([instance.user_id])


def roles_changed(sender: Any, instance: Any, reverse: bool, pk_set: set[int] | None, **_: Any) -> None:
    """Receive `m2m_changed` of a user's groups and permissions."""
    if not reverse:
        invalidate_users([instance.pk])
    elif pk_set is not None:
        invalidate_users(pk_set)
    else:  # a clear does not name the users: invalidate everyone
        invalidate_cache(response_generations[0])
