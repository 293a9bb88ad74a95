"""Requests that are sent twice are done once.

The key is claimed, the work done and the answer kept in one transaction: a request that fails leaves no key behind, one
that succeeds is answered the same way for `IDEMPOTENCY_KEY_LIFETIME`. A second request with the key that comes while the
first is at work waits for it. Rows go by `user_id`; nothing depends on the session of a connection.
"""

from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from transactions.errors import IdempotencyConflictError, RequestInProgressError
from transactions.models import IdempotencyKey

WAIT_SECONDS: Final = 5
"""How long a second request waits for the first one's answer."""
_LOCK_NOT_AVAILABLE: Final = "55P03"
_DELETE_AT_ONCE: Final = 5_000


def begin_idempotent_request(*, user_id: int, key: str, fingerprint: str) -> IdempotencyKey | None:
    """Take the key for this request, in the transaction of the caller; or the answer that was given under it.

    None: the caller does the work and calls `store_idempotent_response` before it commits.

    Raises:
        IdempotencyConflictError: the key was used for another request.
        RequestInProgressError: the first request is still at work.
    """
    for _ in range(2):
        if _inserted(user_id, key, fingerprint):
            return None
        known = IdempotencyKey.objects.filter(user_id=user_id, key=key).first()
        if known is None:  # forgotten between the two statements
            continue
        if known.fingerprint != fingerprint:
            raise IdempotencyConflictError
        return known
    raise RequestInProgressError


def _inserted(user_id: int, key: str, fingerprint: str) -> bool:
    """Whether the key is ours now. Waits for another transaction that holds it: it may still fail."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")
            cursor.execute(
                "INSERT INTO idempotency_keys (user_id, key, fingerprint, status, answer, created_at) "
                "VALUES (%s, %s, %s, 0, '', %s) ON CONFLICT (user_id, key) DO NOTHING",
                [user_id, key, fingerprint, timezone.now()],
            )
            inserted = bool(cursor.rowcount)
            cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", None) == _LOCK_NOT_AVAILABLE:
            raise RequestInProgressError from error
        raise
    return inserted


def store_idempotent_response(*, user_id: int, key: str, status: int, answer: str) -> None:
    """Keep what the request was answered."""
    IdempotencyKey.objects.filter(user_id=user_id, key=key).update(status=status, answer=answer)


def delete_expired_idempotency_keys(*, now: datetime | None = None) -> int:
    """Forget what is older than `IDEMPOTENCY_KEY_LIFETIME`, in short transactions. Returns how many."""
    before = (now or timezone.now()) - settings.IDEMPOTENCY_KEY_LIFETIME
    total = 0
    while True:
        old = IdempotencyKey.objects.filter(created_at__lt=before).order_by("created_at").values_list("pk", "user_id")
        rows = list(old[:_DELETE_AT_ONCE])
        total += IdempotencyKey.objects.filter(
            pk__in=[pk for pk, _ in rows], user_id__in={user_id for _, user_id in rows}
        ).delete()[0]
        if len(rows) < _DELETE_AT_ONCE:
            return total
