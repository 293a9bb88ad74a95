"""Admin pages of the daily and monthly totals."""

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
from kamioi_site.admin.history import HistoryAdmin
from llm_center.models import MappingDelta
from transactions.models import TransactionDelta


@admin.register(TransactionDay)
class TransactionDayAdmin(HistoryAdmin):
    keyset = ("-day", "-status", "-ticker")
    list_display = ("day", "status", "ticker", "rows", "amount", "round_up", "fee", "investable")


@admin.register(CustomerMonth)
class CustomerMonthAdmin(HistoryAdmin):
    list_display = ("month", "user", "rows")
    list_select_related = ("user",)


@admin.register(CustomerCount)
class CustomerCountAdmin(HistoryAdmin):
    keyset = ("-month", "-account_type")
    list_display = ("month", "account_type", "users", "transactions")


@admin.register(DecisionDay)
class DecisionDayAdmin(HistoryAdmin):
    """Decisions of a day and how long merchants waited for them."""

    keyset = ("-day", "-automatic", "-action")
    list_display = (
        "day",
        "automatic",
        "action",
        "decisions",
        "reversed",
        "overturned",
        "released",
        "waited",
        "median_seconds",
        "slow_seconds",
    )


@admin.register(MappingDay)
class MappingDayAdmin(HistoryAdmin):
    keyset = ("-day", "-status", "-source", "-automatic")
    list_display = ("day", "status", "source", "automatic", "rows", "confidence")


@admin.register(RollupPartition)
class RollupPartitionAdmin(HistoryAdmin):
    """How much of each partition the totals include."""

    keyset = ("-name",)
    list_display = ("name", "written", "unreported_writes", "stale", "archived", "looked_at", "verified_at")


@admin.register(TransactionDelta)
class TransactionDeltaAdmin(HistoryAdmin):
    """Changes of transactions that the next refresh will apply."""

    list_display = ("id", "day", "status", "ticker", "rows", "amount", "round_up", "fee", "investable")


@admin.register(MappingDelta)
class MappingDeltaAdmin(HistoryAdmin):
    """Changes of proposals that the next refresh will apply."""

    list_display = ("id", "day", "status", "source", "automatic", "rows", "confidence")


@admin.register(LedgerDay)
class LedgerDayAdmin(HistoryAdmin):
    keyset = ("-day", "-kind", "-debit_account", "-credit_account")
    list_display = ("day", "kind", "debit_account", "credit_account", "rows", "amount")


@admin.register(LedgerMark)
class LedgerMarkAdmin(HistoryAdmin):
    """The newest ledger transfer included in the totals."""

    list_display = ("id", "counted_to", "counted_at", "high_water_mark", "marked_at")
