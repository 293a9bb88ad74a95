"""Addresses of the customer's API. The areas user, family and business are the same views, as the front ends expect."""

from django.urls import path

from transactions.api import (
    accounts,
    customer,
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
    # Front ends ask for these with and without `auth`.
    for _way, _in in (("auth/", "auth-"), ("", "")):
        urlpatterns += [
            path(f"{_area}/{_way}{_name}", _view.as_view(area=_area), name=f"api-{_area}-{_in}{_name}")
            for _name, _view in (
                ("forgot-password", accounts.ForgotPasswordView),
                ("verify-reset-token", accounts.VerifyResetTokenView),
                ("reset-password", accounts.ResetPasswordView),
            )
        ]
    urlpatterns.append(
        path(
            f"{_area}/auth/change-password", accounts.ChangePasswordView.as_view(), name=f"api-{_area}-change-password"
        )
    )
for _area in CUSTOMER_AREAS:
    _notifications = f"{_area}/notifications"
    urlpatterns += [
        path(f"{_area}/auth/register", accounts.RegisterView.as_view(area=_area), name=f"api-{_area}-register"),
        path(f"{_area}/profile", accounts.ProfileView.as_view(), name=f"api-{_area}-profile"),
        path(f"{_area}/settings", accounts.SettingsView.as_view(), name=f"api-{_area}-settings"),
        path(f"{_area}/settings/roundup", views.RoundUpSettingsView.as_view(), name=f"api-{_area}-roundup"),
        path(f"{_area}/transactions", views.TransactionListView.as_view(), name=f"api-{_area}-transactions"),
        path(f"{_area}/export/transactions", customer.ExportView.as_view(), name=f"api-{_area}-export"),
        path(f"{_area}/data-export", customer.DataExportView.as_view(), name=f"api-{_area}-data-export"),
        path(
            f"{_area}/data-export/<uuid:task_id>",
            customer.DataExportFileView.as_view(),
            name=f"api-{_area}-data-export-file",
        ),
        path(f"{_area}/erasure", accounts.ErasureView.as_view(), name=f"api-{_area}-erasure"),
        path(f"{_area}/upload-bank-file", customer.BankFileView.as_view(), name=f"api-{_area}-bank-file"),
        path(f"{_area}/portfolio", views.PortfolioView.as_view(), name=f"api-{_area}-portfolio"),
        path(f"{_area}/roundups/total", customer.RoundUpTotalView.as_view(), name=f"api-{_area}-roundups-total"),
        path(f"{_area}/fees/total", customer.FeeTotalView.as_view(), name=f"api-{_area}-fees-total"),
        path(_notifications, views.NotificationListView.as_view(), name=f"api-{_area}-notifications"),
        path(
            f"{_notifications}/read-all",
            customer.NotificationReadAllView.as_view(),
            name=f"api-{_area}-notifications-read-all",
        ),
        path(
            f"{_notifications}/<int:notification_id>",
            customer.NotificationView.as_view(),
            name=f"api-{_area}-notification",
        ),
        path(
            f"{_notifications}/<int:notification_id>/read",
            customer.NotificationReadView.as_view(),
            name=f"api-{_area}-notification-read",
        ),
        path(f"{_area}/goals", customer.GoalListView.as_view(area=_area), name=f"api-{_area}-goals"),
        path(f"{_area}/goals/<int:goal_id>", customer.GoalView.as_view(), name=f"api-{_area}-goal"),
    ]
