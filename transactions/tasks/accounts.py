"""Tasks about accounts: e-mails for a password reset and expiry of idempotency keys."""

import logging

from celery import shared_task

from transactions.services.accounts import send_password_reset_email
from transactions.services.idempotency import delete_expired_idempotency_keys

logger = logging.getLogger(__name__)


@shared_task(name="send_password_reset", autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def send_password_reset(email: str) -> bool:
    """Send a link for a new password if the address is registered."""
    return send_password_reset_email(email=email)


@shared_task(name="expire_idempotency_keys")
def expire_idempotency_keys() -> int:
    count = delete_expired_idempotency_keys()
    if count:
        logger.info("%s idempotency keys deleted", count)
    return count
