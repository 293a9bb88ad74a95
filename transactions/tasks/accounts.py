"""Tasks about accounts: e-mails for a password reset and expiry of idempotency keys."""

import logging

from celery import shared_task

from transactions.services import email_addresses
from transactions.services.accounts import send_password_reset_email
from transactions.services.idempotency import delete_expired_idempotency_keys

logger = logging.getLogger(__name__)


@shared_task(name="send_password_reset", autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def send_password_reset(email: str) -> bool:
    """Send a link for a new password if the address is registered."""
    return send_password_reset_email(email=email)


@shared_task(name="send_account_email", autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def send_account_email(kind: str, user_id: int) -> bool:
    """Send one of the e-mails about an account."""
    return email_addresses.send_account_email(kind=kind, user_id=user_id)


@shared_task(name="apply_due_email_changes")
def apply_due_email_changes() -> int:
    """Apply verified changes of e-mail addresses whose delay has passed."""
    return email_addresses.apply_due_email_changes()


@shared_task(name="expire_idempotency_keys")
def expire_idempotency_keys() -> int:
    count = delete_expired_idempotency_keys()
    if count:
        logger.info("%s idempotency keys deleted", count)
    return count
