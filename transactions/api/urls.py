"""URLs of the customer's API. The areas user, family and business share the same views, as the front ends expect."""

from django.urls import path

from transactions.api import schema  # noqa: F401  # registers itself with drf-spectacular
from transactions.api.legacy import accounts as legacy_accounts
from transactions.api.legacy import portfolio as legacy_portfolio
from transactions.api.legacy import transactions as legacy_transactions
from transactions.api.views import (
    accounts,
    emails,
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
# Name → path and view: in every area, and in the areas of customers. The views of `legacy` add keys to documented ones.
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
    "transactions": ("transactions", legacy_transactions.TransactionListView),
    "register": ("auth/register", legacy_accounts.RegisterView),
    "profile": ("profile", legacy_accounts.ProfileView),
    "settings": ("settings", legacy_accounts.SettingsView),
    "roundup": ("settings/roundup", profile.RoundUpSettingsView),
    "data-export": ("data-export", profile.DataExportView),
    "data-export-file": ("data-export/<uuid:task_id>", profile.DataExportFileView),
    "erasure": ("erasure", profile.ErasureView),
    "export": ("export/transactions", legacy_transactions.ExportView),
    "bank-file": ("upload-bank-file", legacy_transactions.BankFileView),
    "imports": ("imports", imports.ImportListView),
    "import": ("imports/<int:import_id>", imports.ImportView),
    "import-undo": ("imports/<int:import_id>/undo", imports.ImportUndoView),
    "import-cancel": ("imports/<int:import_id>/cancel", imports.ImportCancelView),
    "import-repeat": ("imports/<int:import_id>/repeat", imports.ImportRepeatView),
    "possible-duplicates": ("possible-duplicates", possible_duplicates.PossibleDuplicateListView),
    "possible-duplicate": ("possible-duplicates/<int:transaction_id>", possible_duplicates.PossibleDuplicateView),
    "portfolio": ("portfolio", legacy_portfolio.PortfolioView),
    "roundups-total": ("roundups/total", portfolio.RoundUpTotalView),
    "fees-total": ("fees/total", portfolio.FeeTotalView),
    "notifications": ("notifications", legacy_portfolio.NotificationListView),
    "notifications-read-all": ("notifications/read-all", notifications.NotificationReadAllView),
    "notification": ("notifications/<int:notification_id>", notifications.NotificationView),
    "notification-read": ("notifications/<int:notification_id>/read", notifications.NotificationReadView),
    "goals": ("goals", legacy_portfolio.GoalListView),
    "goal": ("goals/<int:goal_id>", legacy_portfolio.GoalView),
}
for _area in (*CUSTOMER_AREAS, "admin"):
    _views = _EVERYWHERE if _area == "admin" else _CUSTOMER | _EVERYWHERE
    for _name, (_path, _view) in _views.items():
        _options = {"area": _area} if hasattr(_view, "area") else {}
        urlpatterns.append(path(f"{_area}/{_path}", _view.as_view(**_options), name=f"api-{_area}-{_name}"))
