"""Admin pages of the migration from the legacy system."""

from django import forms
from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import ModelAdmin
from unfold.decorators import display
from waffle import models as waffle

from kamioi_site.admin.display import StatusMixin
from kamioi_site.admin.history import GeneratedRowsAdmin, HistoryAdmin, NoDeleteMixin
from kamioi_site.admin.pages import staff_user
from kamioi_site.errors import KamioiError
from transactions.legacy.sync.retry_reject import retry_reject
from transactions.models import MigrationReject, MigrationRun

for model in (waffle.Flag, waffle.Switch, waffle.Sample):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(MigrationRun)
class MigrationRunAdmin(StatusMixin, HistoryAdmin):
    list_display = ("id", "command", "source", "status_label", "progress", "started_at", "finished_at")

    @display(description="Progress")
    def progress(self, run: MigrationRun) -> str:
        if not run.rows_total:
            return f"{run.rows_done:,} rows" if run.rows_done else ""
        return f"{run.rows_done * 100 // run.rows_total}% ({run.rows_done:,} of {run.rows_total:,} rows)"


@admin.register(MigrationReject)
class MigrationRejectAdmin(NoDeleteMixin, GeneratedRowsAdmin):
    """Legacy rows that could not be migrated; saving a corrected row migrates it."""

    list_display = ("id", "table_name", "legacy_id", "reason", "created_at", "resolved_at", "resolved_by")
    list_select_related = ("resolved_by",)
    fields = ("table_name", "legacy_id", "reason", "row", "run", "created_at", "resolved_at", "resolved_by")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        allowed = request.user.has_perm("transactions.change_migrationreject")
        return allowed and not (isinstance(obj, MigrationReject) and obj.resolved_at is not None)

    def get_readonly_fields(self, request: HttpRequest, obj: MigrationReject | None = None) -> list[str]:
        return [name for name in self.fields if name != "row"]

    def save_model(self, request: HttpRequest, obj: MigrationReject, form: forms.ModelForm, change: bool) -> None:
        """Migrate the corrected row; if it is still invalid, nothing is written."""
        try:
            retry_reject(reject_id=obj.pk, row=form.cleaned_data["row"], actor=staff_user(request))
        except KamioiError as error:
            request.reject_error = str(error)  # type: ignore[attr-defined]

    def response_change(self, request: HttpRequest, obj: MigrationReject) -> HttpResponse:
        if error := getattr(request, "reject_error", ""):
            self.message_user(request, error, messages.ERROR)
            return redirect(request.path)
        self.message_user(request, f"{obj.table_name} {obj.legacy_id} was migrated.", messages.SUCCESS)
        return redirect("admin:transactions_migrationreject_changelist")


@admin.register(waffle.Flag)
class FlagAdmin(ModelAdmin):
    """Feature flags; `kamioi_reads` belongs to the migration."""

    list_display = ("name", "everyone", "percent", "note", "modified")
    fields = ("name", "note", "everyone", "percent", "superusers", "staff", "authenticated")
