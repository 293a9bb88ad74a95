"""Admin pages of the days of the ledger."""

from django.contrib import admin

from analytics.models import LedgerDay, LedgerMark
from kamioi_site.admin import HistoryAdmin


@admin.register(LedgerDay)
class LedgerDayAdmin(HistoryAdmin):
    """Bookings of a day."""

    keyset = ("-day", "-kind", "-debit_account", "-credit_account")
    list_display = ("day", "kind", "debit_account", "credit_account", "rows", "amount")


@admin.register(LedgerMark)
class LedgerMarkAdmin(HistoryAdmin):
    """How far the ledger is counted."""

    list_display = ("id", "counted_to", "counted_at", "drawn_to", "drawn_at")
