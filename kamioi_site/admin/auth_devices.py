"""Admin pages of two-factor devices and failed logins."""

from typing import Any

from axes.models import AccessAttempt
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from kamioi_site.admin.history import GeneratedRowsAdmin
from kamioi_site.admin.pages import staff_user
from kamioi_site.auth.two_factor import remove_devices

for model in (TOTPDevice, StaticDevice):
    if admin.site.is_registered(model):  # django-otp's own pages show the secret keys
        admin.site.unregister(model)


@admin.register(TOTPDevice)
class TwoFactorDeviceAdmin(GeneratedRowsAdmin):
    """Authenticator apps of staff.

    A superuser deletes one so that a user who lost the phone and the recovery codes can set up another.
    """

    list_display = ("user", "name", "confirmed", "created_at", "last_used_at", "throttling_failure_count")
    list_select_related = ("user",)
    fields = list_display
    search_lookup = "user__email__iexact"
    search_help_text = "The full e-mail"

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Users turn off their own device with a code.
        return staff_user(request).is_superuser and getattr(obj, "user_id", None) != request.user.pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Turn off the user's second factor, including the recovery codes."""
        remove_devices(user=obj.user, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for device in queryset.select_related("user"):
            self.delete_model(request, device)


@admin.register(AccessAttempt)
class FailedLoginAdmin(GeneratedRowsAdmin):
    """Wrong passwords by e-mail and address; deleting a row lets that pair try again at once."""

    list_display = ("username", "ip_address", "failures_since_start", "attempt_time", "path_info")
    fields = (*list_display, "user_agent")
    search_lookup = "username"
    search_case = "lower"
    search_help_text = "The full e-mail"
