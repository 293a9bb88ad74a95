"""The Celery tasks of the app; each calls a service."""

from transactions.tasks.accounts import (
    apply_due_email_changes,
    expire_idempotency_keys,
    send_account_email,
    send_password_reset,
)
from transactions.tasks.ingest import expire_uploads, ingest_statement
from transactions.tasks.ledger import check_ledger, verify_ledger
from transactions.tasks.legacy import legacy_dual_write
from transactions.tasks.prices import refresh_prices
from transactions.tasks.privacy import erase_person, export_person
from transactions.tasks.processing import (
    execute_queued_orders,
    process_backlog,
    process_selected,
    process_transaction,
    process_transactions,
    release_merchants,
    settle_held_purchases,
    sweep_stuck,
)

__all__ = [
    "apply_due_email_changes",
    "check_ledger",
    "erase_person",
    "execute_queued_orders",
    "expire_idempotency_keys",
    "expire_uploads",
    "export_person",
    "ingest_statement",
    "legacy_dual_write",
    "process_backlog",
    "process_selected",
    "process_transaction",
    "process_transactions",
    "refresh_prices",
    "release_merchants",
    "send_account_email",
    "send_password_reset",
    "settle_held_purchases",
    "sweep_stuck",
    "verify_ledger",
]
