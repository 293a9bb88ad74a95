"""The models of the app, one module per subject."""

from transactions.models.audit import AuditEvent
from transactions.models.background_tasks import BackgroundTask
from transactions.models.bank_accounts import BankAccount, ImportProfile
from transactions.models.companies import Company
from transactions.models.goals import Goal
from transactions.models.idempotency import IdempotencyKey
from transactions.models.journal import JournalDraft, JournalEntry, JournalReversal
from transactions.models.ledger import Account, BrokerPosition, Holding, LedgerAccount, LedgerTransfer, Receivable
from transactions.models.members import AccountMember
from transactions.models.merchants import Merchant
from transactions.models.migration import MigrationReject, MigrationRun
from transactions.models.notifications import Notification
from transactions.models.orders import Order
from transactions.models.periods import PeriodClosing
from transactions.models.prices import StockPrice
from transactions.models.seals import DetachedPartition, LedgerSeal
from transactions.models.settings import PlatformFee, Setting
from transactions.models.settlement import BrokerOrder, Collection
from transactions.models.statement_imports import StatementImport, StatementReject
from transactions.models.transactions import (
    USER_BUCKETS,
    LimitReason,
    PossibleDuplicate,
    Transaction,
    TransactionDelta,
    TransactionKey,
    UnmatchedRefund,
)
from transactions.models.users import ApiToken, User, UserSetting

__all__ = [
    "USER_BUCKETS",
    "Account",
    "AccountMember",
    "ApiToken",
    "AuditEvent",
    "BackgroundTask",
    "BankAccount",
    "BrokerOrder",
    "BrokerPosition",
    "Collection",
    "Company",
    "DetachedPartition",
    "Goal",
    "Holding",
    "IdempotencyKey",
    "ImportProfile",
    "JournalDraft",
    "JournalEntry",
    "JournalReversal",
    "LedgerAccount",
    "LedgerSeal",
    "LedgerTransfer",
    "LimitReason",
    "Merchant",
    "MigrationReject",
    "MigrationRun",
    "Notification",
    "Order",
    "PeriodClosing",
    "PlatformFee",
    "PossibleDuplicate",
    "Receivable",
    "Setting",
    "StatementImport",
    "StatementReject",
    "StockPrice",
    "Transaction",
    "TransactionDelta",
    "TransactionKey",
    "UnmatchedRefund",
    "User",
    "UserSetting",
]
