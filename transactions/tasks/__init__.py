"""The tasks of this room; each only wakes a service."""

from transactions.tasks.ingest import ingest_statement
from transactions.tasks.ledger import verify_ledger
from transactions.tasks.legacy import legacy_dual_write
from transactions.tasks.market import refresh_prices
from transactions.tasks.processing import (
    execute_queued_orders,
    process_transaction,
    process_transactions,
    release_merchants,
    sweep_stuck,
)

__all__ = [
    "execute_queued_orders",
    "ingest_statement",
    "legacy_dual_write",
    "process_transaction",
    "process_transactions",
    "refresh_prices",
    "release_merchants",
    "sweep_stuck",
    "verify_ledger",
]
