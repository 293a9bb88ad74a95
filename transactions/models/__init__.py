"""The tables of this room, one file a subject."""

from transactions.models.activity import (
    BackgroundTask,
    MigrationReject,
    MigrationRun,
    Notification,
    StatementImport,
    StatementReject,
)
from transactions.models.directory import Company, Merchant, ReleasedTransaction, Setting, StockPrice
from transactions.models.ledger import Account, Holding, LedgerAccount, LedgerCheck, LedgerTransfer
from transactions.models.transaction import USER_BUCKETS, Order, Transaction, TransactionDelta, TransactionKey
from transactions.models.user import ApiToken, User

__all__ = [
    "USER_BUCKETS",
    "Account",
    "ApiToken",
    "BackgroundTask",
    "Company",
    "Holding",
    "LedgerAccount",
    "LedgerCheck",
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
]
