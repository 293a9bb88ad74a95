"""Addresses for staff that need nothing but this room."""

from django.urls import path

from transactions.api import staff_views as views

_CENTER = "admin/llm-center"

urlpatterns = [
    path(f"{_CENTER}/pending-transactions-paginated", views.WaitingView.as_view(), name="api-waiting"),
    path(f"{_CENTER}/process-selected-transactions", views.ProcessSelectedView.as_view(), name="api-process-selected"),
    path(f"{_CENTER}/process-transaction", views.ProcessTransactionView.as_view(), name="api-process-transaction"),
    path("admin/settings", views.SettingsView.as_view(), name="api-settings"),
    path("admin/users", views.PeopleView.as_view(), name="api-people"),
    path("admin/users/<int:user_id>", views.PersonView.as_view(), name="api-person"),
    path("admin/users/<int:user_id>/status", views.PersonStatusView.as_view(), name="api-person-status"),
    path("admin/journal-entries", views.JournalView.as_view(), name="api-journal"),
    path("admin/journal-entries/<str:number>", views.JournalEntryView.as_view(), name="api-journal-entry"),
    path("admin/ledger/consistency", views.ConsistencyView.as_view(), name="api-ledger-consistency"),
]
