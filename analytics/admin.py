"""Admin pages of the rollups: the figures as they stand, what waits to be taken up, and what is known of each partition."""

from django.contrib import admin

from analytics.models import (
    CustomerCount,
    CustomerMonth,
    DecisionDay,
    LedgerDay,
    LedgerMark,
    MappingDay,
    RollupPartition,
    TransactionDay,
)
from kamioi_site.admin import HistoryAdmin
from llm_center.models import MappingDelta
from transactions.models import TransactionDelta


@admin.register(TransactionDay)
class TransactionDayAdmin(HistoryAdmin):
    """Transactions of a day."""

    keyset = ("-day", "-status", "-ticker")
    list_display = ("day", "status", "ticker", "rows", "amount", "round_up", "fee", "investable")


@admin.register(CustomerMonth)
class CustomerMonthAdmin(HistoryAdmin):
    """Transactions of a customer in a month."""

    list_display = ("month", "user", "rows")
    list_select_related = ("user",)


@admin.register(CustomerCount)
class CustomerCountAdmin(HistoryAdmin):
    """Active customers of a month."""

    keyset = ("-month", "-account_type")
    list_display = ("month", "account_type", "users", "transactions")


@admin.register(DecisionDay)
class DecisionDayAdmin(HistoryAdmin):
    """Decisions of a day, and how long merchants waited for them."""

    keyset = ("-day", "-automatic", "-action")
    list_display = (
        "day", "automatic", "action", "decisions", "reversed", "overturned", "released", "waited", "median_seconds",
        "slow_seconds",
    )  # fmt: skip


@admin.register(MappingDay)
class MappingDayAdmin(HistoryAdmin):
    """Proposals of a day."""

    keyset = ("-day", "-status", "-source", "-automatic")
    list_display = ("day", "status", "source", "automatic", "rows", "confidence")


@admin.register(RollupPartition)
class RollupPartitionAdmin(HistoryAdmin):
    """What the figures know of each partition."""

    keyset = ("-name",)
    list_display = ("name", "written", "ahead", "stale", "archived", "looked_at", "verified_at")


@admin.register(TransactionDelta)
class TransactionDeltaAdmin(HistoryAdmin):
    """Changes of transactions that the next refresh takes up."""

    list_display = ("id", "day", "status", "ticker", "rows", "amount", "round_up", "fee", "investable")


@admin.register(MappingDelta)
class MappingDeltaAdmin(HistoryAdmin):
    """Changes of the log of proposals that the next refresh takes up."""

    list_display = ("id", "day", "status", "source", "automatic", "rows", "confidence")


@admin.register(LedgerDay)
class LedgerDayAdmin(HistoryAdmin):
    """Bookings of a day."""

    keyset = ("-day", "-kind", "-debit_account", "-credit_account")
    list_display = ("day", "kind", "debit_account", "credit_account", "rows", "amount")


@admin.register(LedgerMark)
class LedgerMarkAdmin(HistoryAdmin):
    """How far the ledger is counted."""

    list_display = ("id", "counted_to", "counted_at", "drawn_to", "drawn_at")
