"""URLs of the customer's API. The areas user, family and business share the same views, as the front ends expect."""

from django.urls import path

from transactions.api import schema  # noqa: F401  # registers itself with drf-spectacular
from transactions.api.views import (
    accounts,
    bank_files,
    emails,
    goals,
    imports,
    notifications,
    passwords,
    portfolio,
    possible_duplicates,
    profile,
    tasks,
    transactions,
)

CUSTOMER_AREAS = ("user", "family", "business")

urlpatterns = [
    path("transactions", transactions.TransactionCreateView.as_view(), name="api-transactions"),
    path("transactions/bulk", transactions.TransactionBulkView.as_view(), name="api-transactions-bulk"),
    path("transactions/<int:transaction_id>", transactions.TransactionDetailView.as_view(), name="api-transaction"),
    path("tasks/<uuid:task_id>", tasks.TaskView.as_view(), name="api-task"),
    path("tasks/<uuid:task_id>/events", tasks.TaskEventsView.as_view(), name="api-task-events"),
    path("tasks/<uuid:task_id>/rejects", tasks.TaskRejectsView.as_view(), name="api-task-rejects"),
]
# Name → path and view: in every area, and in the areas of customers.
_EVERYWHERE = {
    "login": ("auth/login", accounts.LogInView),
    "logout": ("auth/logout", accounts.LogOutView),
    "me": ("auth/me", accounts.MeView),
    # The front ends use these with and without `auth`.
    "auth-forgot-password": ("auth/forgot-password", passwords.ForgotPasswordView),
    "auth-verify-reset-token": ("auth/verify-reset-token", passwords.VerifyResetTokenView),
    "auth-reset-password": ("auth/reset-password", passwords.ResetPasswordView),
    "forgot-password": ("forgot-password", passwords.ForgotPasswordView),
    "verify-reset-token": ("verify-reset-token", passwords.VerifyResetTokenView),
    "reset-password": ("reset-password", passwords.ResetPasswordView),
    "verify-email": ("auth/verify-email", emails.VerifyEmailView),
    "cancel-email-change": ("auth/cancel-email-change", emails.CancelEmailChangeView),
    "resend-verification": ("auth/resend-verification", emails.ResendVerificationView),
    "change-password": ("auth/change-password", passwords.ChangePasswordView),
}
_CUSTOMER = {
    # First, because Django tries routes in order and this is the most frequent one.
    "transactions": ("transactions", transactions.TransactionListView),
    "register": ("auth/register", accounts.RegisterView),
    "profile": ("profile", profile.ProfileView),
    "settings": ("settings", profile.SettingsView),
    "roundup": ("settings/roundup", profile.RoundUpSettingsView),
    "data-export": ("data-export", profile.DataExportView),
    "data-export-file": ("data-export/<uuid:task_id>", profile.DataExportFileView),
    "erasure": ("erasure", profile.ErasureView),
    "export": ("export/transactions", transactions.ExportView),
    "bank-file": ("upload-bank-file", bank_files.BankFileView),
    "imports": ("imports", imports.ImportListView),
    "import": ("imports/<int:import_id>", imports.ImportView),
    "import-undo": ("imports/<int:import_id>/undo", imports.ImportUndoView),
    "import-cancel": ("imports/<int:import_id>/cancel", imports.ImportCancelView),
    "import-repeat": ("imports/<int:import_id>/repeat", imports.ImportRepeatView),
    "possible-duplicates": ("possible-duplicates", possible_duplicates.PossibleDuplicateListView),
    "possible-duplicate": ("possible-duplicates/<int:transaction_id>", possible_duplicates.PossibleDuplicateView),
    "portfolio": ("portfolio", portfolio.PortfolioView),
    "roundups-total": ("roundups/total", portfolio.RoundUpTotalView),
    "fees-total": ("fees/total", portfolio.FeeTotalView),
    "notifications": ("notifications", notifications.NotificationListView),
    "notifications-read-all": ("notifications/read-all", notifications.NotificationReadAllView),
    "notification": ("notifications/<int:notification_id>", notifications.NotificationView),
    "notification-read": ("notifications/<int:notification_id>/read", notifications.NotificationReadView),
    "goals": ("goals", goals.GoalListView),
    "goal": ("goals/<int:goal_id>", goals.GoalView),
}
for _area in (*CUSTOMER_AREAS, "admin"):
    _views = _EVERYWHERE if _area == "admin" else _CUSTOMER | _EVERYWHERE
    for _name, (_path, _view) in _views.items():
        _options = {"area": _area} if hasattr(_view, "area") else {}
        urlpatterns.append(path(f"{_area}/{_path}", _view.as_view(**_options), name=f"api-{_area}-{_name}"))
