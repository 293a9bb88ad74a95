"""How long the rows of this app are kept (`kamioi_site.db.retention`)."""

from datetime import timedelta

from django.db.models import DateTimeField, Exists, Func, OuterRef, Q, Value
from django.db.models.functions import Now

from kamioi_site.db.retention import Expiry, Retention
from transactions.models import AccountMember, ApiToken, BackgroundTask, Notification, StockPrice

_BOOKS = "the books"
_CUSTOMER = "with the customer's account"
# Imports and reports refer to them; an erasure must be provable.
_KEPT_TASKS = (
    "ingest_statement",
    "undo_statement",
    "import_mappings",
    "make_report",
    "make_statements",
    "erase_person",
)
_LATER_QUOTE_OF_THE_DAY = StockPrice.objects.filter(
    ticker=OuterRef("ticker"),
    as_of__gt=OuterRef("as_of"),
    as_of__lt=Func(Value("day"), OuterRef("as_of"), Value("UTC"), function="date_trunc", output_field=DateTimeField())
    + timedelta(days=1),
)

RETENTION = Retention(
    kept={
        **dict.fromkeys(
            (
                "transactions",
                "transaction_keys",
                "ledger_transfers",
                "ledger_accounts",
                "ledger_seals",
                "period_closings",
                "detached_partitions",
                "journal_entries",
                "journal_reversals",
                "holdings",
                "receivables",
                "orders",
                "broker_positions",
                "broker_orders",
                "collections",
                "platform_fees",
                "unmatched_refunds",
            ),
            _BOOKS,
        ),
        **dict.fromkeys(
            (
                "users",
                "users_groups",
                "users_user_permissions",
                "user_settings",
                "goals",
                "bank_accounts",
                "import_profiles",
            ),
            _CUSTOMER,
        ),
        "audit_events": "the audit trail",
        "admin_settings": "one row per setting",
        "companies": "one row per company",
        "merchants": "one row per merchant",
        "statement_imports": "history of imports; their files expire",
        **dict.fromkeys(("migration_runs", "migration_rejects"), "history of the migration"),
    },
    removed={
        "journal_drafts": "by the person who posts or deletes them",
        "idempotency_keys": "`expire_idempotency_keys`, after `IDEMPOTENCY_KEY_HOURS`",
        "statement_rejects": "`expire_uploads`, after `upload_expiry_days`",
        "transaction_deltas": "`calculate_analytics`, every hour",
    },
    expired=[
        Expiry(model=Notification, column="created_at", by_id=True, days=365),
        Expiry(
            model=ApiToken, column="created_at", by_id=True, days=30, only=Q(expires_at__lt=Now() - timedelta(days=30))
        ),
        Expiry(
            model=BackgroundTask,
            column="created_at",
            days=365,
            only=~Q(status__in=BackgroundTask.OPEN) & ~Q(name__in=_KEPT_TASKS),
        ),
        # Addresses of people who did not answer, declined or left. Members stay as long as they agree.
        Expiry(model=AccountMember, column="invited_at", days=90, only=~Q(status=AccountMember.Status.ACTIVE)),
        # The last quote of each day stays: account statements value holdings by it.
        Expiry(model=StockPrice, column="as_of", by_id=True, days=400, only=Q(Exists(_LATER_QUOTE_OF_THE_DAY))),
    ],
)
