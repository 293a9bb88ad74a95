"""Admin pages of two-factor devices and failed logins."""

from typing import Any

from axes.models import AccessAttempt
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from kamioi_site.admin.history import GeneratedRowsAdmin

for model in (TOTPDevice, StaticDevice):
    if admin.site.is_registered(model):  # django-otp's own pages show the secret keys
        admin.site.unregister(model)


@admin.register(TOTPDevice)
class TwoFactorDeviceAdmin(GeneratedRowsAdmin):
    """Authenticator apps of staff.

    Deleting one lets a user who lost the phone and the recovery codes set up another.
    """

    list_display = ("user", "name", "confirmed", "created_at", "last_used_at", "throttling_failure_count")
    list_select_related = ("user",)
    fields = list_display
    search_lookup = "user__email__iexact"
    search_help_text = "The full e-mail"

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Administrators turn off their own device with a code.
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and getattr(obj, "user_id", None) != request.user.pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete the device together with the user's recovery codes."""
        StaticDevice.objects.filter(user_id=obj.user_id).delete()
        super().delete_model(request, obj)


@admin.register(AccessAttempt)
class FailedLoginAdmin(GeneratedRowsAdmin):
    """Wrong passwords by e-mail and address; deleting a row lets that pair try again at once."""

    list_display = ("username", "ip_address", "failures_since_start", "attempt_time", "path_info")
    fields = (*list_display, "user_agent")
    search_lookup = "username"
    search_case = "lower"
    search_help_text = "The full e-mail"
