"""The tables of this room, one file a subject."""

from transactions.models.activity import (
    BackgroundTask,
    Goal,
    IdempotencyKey,
    MigrationReject,
    MigrationRun,
    Notification,
    StatementImport,
    StatementReject,
)
from transactions.models.audit import AuditEvent
from transactions.models.directory import Company, Merchant, ReleasedTransaction, Setting, StockPrice
from transactions.models.journal import JournalEntry
from transactions.models.ledger import Account, Holding, LedgerAccount, LedgerTransfer
from transactions.models.transaction import USER_BUCKETS, Order, Transaction, TransactionDelta, TransactionKey
from transactions.models.user import ApiToken, User, UserSetting

__all__ = [
    "USER_BUCKETS",
    "Account",
    "ApiToken",
    "AuditEvent",
    "BackgroundTask",
    "Company",
    "Goal",
    "Holding",
    "IdempotencyKey",
    "JournalEntry",
    "LedgerAccount",
    "LedgerTransfer",
    "Merchant",
    "MigrationReject",
    "MigrationRun",
    "Notification",
    "Order",
    "ReleasedTransaction",
    "Setting",
    "StatementImport",
    "StatementReject",
    "StockPrice",
    "Transaction",
    "TransactionDelta",
    "TransactionKey",
    "User",
    "UserSetting",
]
