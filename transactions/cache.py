"""What is cached about customers, and what voids it.

Lists of a customer's transactions, and sums over them, live under one generation a customer: whoever writes transactions
says so with `invalidate_customers`. Nobody else's lists are touched.
"""

from collections.abc import Iterable
from typing import Any, Final

from kamioi_site.cache.namespaces import CacheNamespace, invalidate_cache, invalidate_caches, response_generations

_GENERATION: Final = "transactions:user:{user_id}"

TRANSACTIONS: Final = CacheNamespace("transactions:user:{user_id}:{page}", ttl=300, generation=_GENERATION)
"""Pages of a customer's list, and sums over it, by what was asked for."""


def invalidate_customers(user_ids: Iterable[int]) -> None:
    """These customers' transactions changed, or change with this database transaction."""
    invalidate_caches(_GENERATION.format(user_id=user_id) for user_id in set(user_ids))


# --- Whole answers (`kamioi_site.http.response_cache`) ------------------------------------------------------------------------
READS_GENERATION: Final = "legacy:reads"
"""Bumped whenever the flag changes that says who is answered from the legacy system's file."""
_PERSON: Final = "person:{user_id}"

response_generations.extend(
    [
        _GENERATION,
        _PERSON,
        TRANSACTIONS.own_generation.replace("{", "{{").replace("}", "}}"),  # a name, not a template
        READS_GENERATION,
    ]
)


def persons_changed(user_ids: Iterable[int]) -> None:
    """These people's rights changed, or change with this database transaction: an account closed, a token revoked, a role given.

    Saved models say so by themselves; whoever writes to `users` or `api_tokens` in another way calls this.
    """
    invalidate_caches(_PERSON.format(user_id=user_id) for user_id in set(user_ids))


def person_saved(sender: Any, instance: Any, created: bool = False, **_: Any) -> None:
    """A user was saved or deleted."""
    if not created:
        persons_changed([instance.pk])


def token_saved(sender: Any, instance: Any, created: bool = False, **_: Any) -> None:
    """A token was changed or deleted; a new one voids nothing."""
    if not created:
        persons_changed([instance.user_id])


def roles_changed(sender: Any, instance: Any, reverse: bool, pk_set: set[int] | None, **_: Any) -> None:
    """Groups or permissions were given to people, or taken from them."""
    if not reverse:
        persons_changed([instance.pk])
    elif pk_set is not None:
        persons_changed(pk_set)
    else:  # everybody's, who they were is not said
        invalidate_cache(response_generations[0])
