"""Addresses of the customer's API. The areas user, family and business are the same views, as the front ends expect."""

from django.urls import path

from transactions.api import (
    schema,  # noqa: F401  # registers itself with drf-spectacular
    views,
)

CUSTOMER_AREAS = ("user", "family", "business")

urlpatterns = [
    path("transactions", views.TransactionCreateView.as_view(), name="api-transactions"),
    path("transactions/bulk", views.TransactionBulkView.as_view(), name="api-transactions-bulk"),
    path("transactions/<int:transaction_id>", views.TransactionDetailView.as_view(), name="api-transaction"),
    path("tasks/<uuid:task_id>", views.TaskView.as_view(), name="api-task"),
    path("tasks/<uuid:task_id>/events", views.TaskEventsView.as_view(), name="api-task-events"),
    path("tasks/<uuid:task_id>/rejects", views.TaskRejectsView.as_view(), name="api-task-rejects"),
]
for _area in (*CUSTOMER_AREAS, "admin"):
    urlpatterns += [
        path(f"{_area}/auth/login", views.LogInView.as_view(area=_area), name=f"api-{_area}-login"),
        path(f"{_area}/auth/logout", views.LogOutView.as_view(area=_area), name=f"api-{_area}-logout"),
        path(f"{_area}/auth/me", views.MeView.as_view(area=_area), name=f"api-{_area}-me"),
    ]
for _area in CUSTOMER_AREAS:
    urlpatterns += [
        path(f"{_area}/transactions", views.TransactionListView.as_view(), name=f"api-{_area}-transactions"),
        path(f"{_area}/portfolio", views.PortfolioView.as_view(), name=f"api-{_area}-portfolio"),
        path(f"{_area}/notifications", views.NotificationListView.as_view(), name=f"api-{_area}-notifications"),
        path(f"{_area}/settings/roundup", views.RoundUpSettingsView.as_view(), name=f"api-{_area}-roundup"),
    ]
