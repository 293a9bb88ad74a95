"""Admin pages of users, their tokens and preferences."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Lower
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from kamioi_site.admin.history import HistoryAdmin, NoDeleteMixin
from kamioi_site.admin.keyset import KeysetAdmin
from kamioi_site.admin.pages import page_context, staff_user
from transactions.errors import ErasureNotAllowedError
from transactions.models import AccountMember, ApiToken, BackgroundTask, Goal, Holding, Notification, User, UserSetting
from transactions.services.privacy import erasure_obstacle, export_path, request_erasure, request_export
from transactions.services.user_admin import RIGHTS, may_change, record_rights_change, update_user


class UserByEmailCreationForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("email",)
        field_classes: dict[str, Any] = {}


class UserForm(UserChangeForm):
    held_purchases = forms.ChoiceField(
        choices=[("release", "Release them"), ("cancel", "Cancel them")],
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="What happens to purchases on hold when you activate the account again.",
    )


class EraseForm(forms.Form):
    """Confirms an erasure by the user's e-mail."""

    email = forms.CharField(label="Type the user's e-mail to confirm", widget=UnfoldAdminTextInputWidget)
    reason = forms.CharField(max_length=500, label="Reason", widget=UnfoldAdminTextInputWidget)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if email.strip().lower() != self.user.email.lower():
            raise forms.ValidationError("This is not the e-mail of this user.")
        return email


@admin.register(User)
class UserAdmin(NoDeleteMixin, KeysetAdmin, BaseUserAdmin):
    """Customers and staff; accounts are deactivated or erased, because the books refer to them."""

    form = UserForm
    add_form = UserByEmailCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "account_type", "is_staff", "is_active", "created_at")
    list_filter = ("account_type", "is_staff", "is_active")
    search_fields = ("email", "account_number")
    search_help_text = "The full e-mail or the account number"
    ordering = ("-id",)
    readonly_fields = (
        *("created_at", "updated_at", "last_login", "erased_at", "terms_agreed_at", "terms_version"),
        *("privacy_agreed_at", "email_verified_at", "pending_email", "email_change_at"),
    )
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "account_type", "account_number")}),
        (
            "E-mail",
            {
                "fields": ("email_verified_at", "pending_email", "email_change_at"),
                "description": "A new address takes effect once it is verified and the old one has had time to cancel.",
            },
        ),
        ("Round-up", {"fields": ("round_up_enabled", "round_up_rule", "round_up_amount")}),
        ("Profile", {"fields": ("first_name", "last_name", "company_name", "risk_tolerance", "investment_goals")}),
        ("Address", {"fields": ("address", "city", "state", "zip_code", "country", "time_zone", "phone")}),
        ("Consent", {"fields": ("terms_agreed_at", "terms_version", "privacy_agreed_at", "marketing_agreed")}),
        ("Status", {"fields": ("is_active", "held_purchases")}),
        ("Permissions", {"fields": ("is_staff", "is_superuser", "groups", "user_permissions")}),
        ("History", {"fields": ("created_at", "updated_at", "last_login", "erased_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "password1", "password2")}),)
    filter_horizontal = ("groups",)
    change_form_outer_before_template = "admin/transactions/user_actions.html"

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_view_permission(request, obj) and (obj is None or may_change(obj, staff_user(request)))

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or may_change(obj, staff_user(request)))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        actor = staff_user(request)
        if obj == actor:
            return (*self.readonly_fields, *RIGHTS, "is_active")
        return self.readonly_fields if actor.is_superuser else (*self.readonly_fields, *RIGHTS)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            super().save_model(request, obj, form, change)
            return
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        cancel = changes.pop("held_purchases", "release") == "cancel"
        update_user(user_id=obj.pk, changes=changes, actor=staff_user(request), cancel_held_purchases=cancel)

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "transactions_user"
        return [
            path("<int:pk>/export/", view(self.export_view), name=f"{name}_export"),
            path("<int:pk>/export/<uuid:task_id>/", view(self.export_file_view), name=f"{name}_export_file"),
            path("<int:pk>/erase/", view(self.erase_view), name=f"{name}_erase"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def export_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Start the export of the user's personal data."""
        user = self._get_user(request, pk)
        task = request_export(user=user, actor=staff_user(request))
        messages.success(request, "Export started. You can download the file here when it is complete.")
        return redirect("admin:transactions_backgroundtask_change", task.pk)

    def export_file_view(self, request: HttpRequest, pk: int, task_id: UUID) -> FileResponse:
        """Download a completed export."""
        self._get_user(request, pk)
        task = get_object_or_404(BackgroundTask, pk=task_id, name="export_person", arguments__user_id=pk)
        if not export_path(task).exists():
            raise Http404
        return FileResponse(export_path(task).open("rb"), as_attachment=True, filename=f"user-{pk}.zip")

    def erase_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Explain what an erasure does; erase the user once the e-mail is confirmed."""
        user = self._get_user(request, pk)
        form = EraseForm(request.POST or None, user=user)
        obstacle = erasure_obstacle(user)
        if request.method == "POST" and not obstacle and form.is_valid():
            try:
                task = request_erasure(user=user, actor=staff_user(request), reason=form.cleaned_data["reason"])
            except ErasureNotAllowedError as error:
                obstacle = str(error)
            else:
                messages.success(request, "The account is closed. The user's personal data is being erased.")
                return redirect("admin:transactions_backgroundtask_change", task.pk)
        holdings = Holding.objects.filter(user=user, shares__gt=0).count()
        context = page_context(
            self, request, "Erase user", customer=user, form=form, obstacle=obstacle, holdings=holdings
        )
        return TemplateResponse(request, "admin/transactions/erase.html", context)

    def _get_user(self, request: HttpRequest, pk: int) -> User:
        user = get_object_or_404(User, pk=pk)
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        return user

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        # Exact values only: unique indexes serve them among millions of users.
        if term := search_term.strip():
            emails = queryset.annotate(email_lower=Lower("email"))
            queryset = emails.filter(Q(email_lower=term.lower()) | Q(account_number=term))
        return queryset, False


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(ModelAdmin, BaseGroupAdmin):
    """Roles of staff: named sets of permissions, which only superusers change."""

    def has_add_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return staff_user(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return staff_user(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return staff_user(request).is_superuser

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = set(form.instance.permissions.all())
        super().save_related(request, form, formsets, change)
        after = set(form.instance.permissions.all())
        for verb, permissions in (("granted", after - before), ("revoked", before - after)):
            if permissions:
                text = f"{verb}: {', '.join(sorted(map(str, permissions)))}"
                record_rights_change(staff_user(request), text, target=form.instance)

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        record_rights_change(staff_user(request), "role deleted", target=obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        for group in queryset:
            self.delete_model(request, group)


@admin.register(ApiToken)
class ApiTokenAdmin(HistoryAdmin):
    """API tokens; only their digests are stored. They can be revoked."""

    list_display = ("id", "user", "created_at", "expires_at", "revoked_at")
    list_select_related = ("user",)
    fields = ("user", "created_at", "expires_at", "revoked_at")
    actions = ("revoke",)

    @admin.action(description="Revoke the selected tokens", permissions=["view"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        if not request.user.has_perm("transactions.change_apitoken"):
            messages.error(request, "You do not have permission to revoke tokens.")
            return
        count = ApiToken.objects.filter(pk__in=tokens.values("pk")).revoke()
        messages.success(request, f"{count} tokens revoked.")


@admin.register(AccountMember)
class AccountMemberAdmin(HistoryAdmin):
    """Members of family and business accounts, also invited and former ones. Their owner changes them."""

    list_display = ("id", "owner", "email", "name", "role", "status", "shares_totals", "invited_at")
    list_select_related = ("owner",)
    fields = (
        *("owner", "email", "name", "role", "status", "user", "shares_totals"),
        *("invited_at", "answered_at", "removed_at"),
    )


@admin.register(Notification)
class NotificationAdmin(HistoryAdmin):
    list_display = ("id", "user", "title", "type", "read", "created_at")
    list_select_related = ("user",)


@admin.register(Goal)
class GoalAdmin(HistoryAdmin):
    list_display = ("id", "user", "title", "goal_type", "current_amount", "target_amount", "created_at")
    list_select_related = ("user",)


@admin.register(UserSetting)
class UserSettingAdmin(HistoryAdmin):
    """Preferences that client applications store for their users."""

    list_display = ("id", "user", "setting_key", "setting_value", "updated_at")
    list_select_related = ("user",)
