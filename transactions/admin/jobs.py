"""Admin pages of background tasks and idempotency keys."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from kamioi_site.admin.display import StatusMixin
from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import staff_user
from transactions.models import BackgroundTask, IdempotencyKey
from transactions.services.background_tasks import retry_task


@admin.register(BackgroundTask)
class BackgroundTaskAdmin(StatusMixin, HistoryAdmin):
    """Long-running work with its progress; failed tasks can be retried."""

    keyset = ("-created_at", "-id")
    list_display = ("name", "status_label", "progress_text", "user", "created_at", "finished_at", "error")
    list_select_related = ("user",)
    list_filter = ("status",)
    actions = ("retry",)
    change_form_before_template = "admin/transactions/task_progress.html"

    def has_view_permission(self, request: HttpRequest, obj: BackgroundTask | None = None) -> bool:
        return super().has_view_permission(request, obj) and (obj is None or obj.is_visible_to(staff_user(request)))

    @display(description="Progress")
    def progress_text(self, task: BackgroundTask) -> str:
        return f"{task.progress:,} of {task.total:,}" if task.total else f"{task.progress:,}"

    @admin.action(description="Retry the selected failed tasks", permissions=["view"])
    def retry(self, request: HttpRequest, tasks: QuerySet[BackgroundTask]) -> None:
        if not request.user.has_perm("transactions.change_backgroundtask"):
            messages.error(request, "You do not have permission to retry tasks.")
            return
        count = sum(retry_task(task_id=pk) for pk in tasks.values_list("pk", flat=True))
        messages.success(request, f"{count} tasks queued again.")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(HistoryAdmin):
    """Idempotent API requests; the stored response is visible to the customer only."""

    list_display = ("id", "user", "key", "status", "created_at")
    list_select_related = ("user",)
    fields = ("user", "key", "fingerprint", "status", "created_at")
