"""Tasks about accounts: mail for a new password, keys of answered requests that are forgotten."""

import logging

from celery import shared_task

from transactions.services.accounts import send_password_reset_email
from transactions.services.idempotency import delete_expired_idempotency_keys

logger = logging.getLogger(__name__)


@shared_task(name="send_password_reset", autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def send_password_reset(email: str) -> bool:
    """Mail a link for a new password, if somebody is registered with this address."""
    return send_password_reset_email(email=email)


@shared_task(name="expire_idempotency_keys")
def expire_idempotency_keys() -> int:
    """Forget the keys of requests that were answered long ago."""
    count = delete_expired_idempotency_keys()
    if count:
        logger.info("%s idempotency keys forgotten", count)
    return count
