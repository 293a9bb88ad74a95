"""URLs of the staff API that need only this app."""

from django.urls import path

from transactions.api.legacy.staff import LegacyJournalEntryView, LegacyJournalView
from transactions.api.staff import journal, settings, transactions, users

_CENTER = "admin/llm-center"

urlpatterns = [
    path(f"{_CENTER}/pending-transactions-paginated", transactions.WaitingView.as_view(), name="api-waiting"),
    path(
        f"{_CENTER}/process-selected-transactions",
        transactions.ProcessSelectedView.as_view(),
        name="api-process-selected",
    ),
    path(
        f"{_CENTER}/process-transaction", transactions.ProcessTransactionView.as_view(), name="api-process-transaction"
    ),
    path("admin/settings", settings.SettingsView.as_view(), name="api-settings"),
    path("admin/users/<int:user_id>", users.UserView.as_view(), name="api-person"),
    path("admin/users/<int:user_id>/status", users.UserStatusView.as_view(), name="api-person-status"),
    path("admin/journal-entries", LegacyJournalView.as_view(), name="api-journal"),
    path("admin/journal-entries/<str:number>", LegacyJournalEntryView.as_view(), name="api-journal-entry"),
    path("admin/ledger/consistency", journal.ConsistencyView.as_view(), name="api-ledger-consistency"),
]
