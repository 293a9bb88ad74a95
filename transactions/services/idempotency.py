"""Idempotent requests: a request that is sent twice is executed once.

The key is inserted, the work done and the response stored in one transaction: a request that fails leaves no key
behind, one that succeeds gets the same response for `IDEMPOTENCY_KEY_LIFETIME`. A second request with the key waits
while the first is in progress. All statements filter by `user_id`; nothing depends on the session of a connection.
"""

from typing import Final

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from transactions.errors import IdempotencyConflictError, RequestInProgressError
from transactions.models import IdempotencyKey

WAIT_SECONDS: Final = 5  # how long a second request waits for the response of the first
_LOCK_NOT_AVAILABLE: Final = "55P03"
_DELETE_BATCH: Final = 5_000


def begin_idempotent_request(*, user_id: int, key: str, fingerprint: str) -> IdempotencyKey | None:
    """Insert the key in the caller's transaction, or return the response stored under it.

    On None the caller does the work and calls `store_idempotent_response` before it commits.

    Raises:
        IdempotencyConflictError: the key was used for another request.
        RequestInProgressError: the first request is still in progress.
    """
    for _ in range(2):
        if _insert_key(user_id, key, fingerprint):
            return None
        stored = IdempotencyKey.objects.filter(user_id=user_id, key=key).first()
        if stored is None:  # expired between the two statements
            continue
        if stored.fingerprint != fingerprint:
            raise IdempotencyConflictError
        return stored
    raise RequestInProgressError


def _insert_key(user_id: int, key: str, fingerprint: str) -> bool:
    """Return whether the key was inserted. Waits for another transaction that has inserted it, which may still fail."""
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
    """Store the response of the request."""
    IdempotencyKey.objects.filter(user_id=user_id, key=key).update(status=status, answer=answer)


def delete_expired_idempotency_keys() -> int:
    """Delete keys older than `IDEMPOTENCY_KEY_LIFETIME`, in short transactions. Returns how many."""
    before = timezone.now() - settings.IDEMPOTENCY_KEY_LIFETIME
    total = 0
    while True:
        old = IdempotencyKey.objects.filter(created_at__lt=before).order_by("created_at").values_list("pk", "user_id")
        rows = list(old[:_DELETE_BATCH])
        total += IdempotencyKey.objects.filter(
            pk__in=[pk for pk, _ in rows], user_id__in={user_id for _, user_id in rows}
        ).delete()[0]
        if len(rows) < _DELETE_BATCH:
            return total
