"""A second factor for staff: a code from an authenticator app (TOTP), or a recovery code.

- Staff who have set it up enter a code after the password, in the admin and at the API's log-in. Until then their
  session may do nothing, neither in the admin nor at the API.
- With `STAFF_OTP_REQUIRED`, staff who have not set it up can do nothing else first.
- A code works once, and each wrong one lengthens the wait before the next attempt (django-otp).
- If phone and recovery codes are lost, an administrator deletes the device on its admin page, and the user sets up a
  new one.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final
from urllib.parse import quote

from django.conf import settings
from django.contrib.admin.models import ADDITION, DELETION
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal, receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.cache.namespaces import CacheNamespace
from kamioi_site.errors import KamioiError, error_body

RECOVERY_CODES: Final = 10
NEXT: Final = "next"  # parameter of the page: where to go after the code
_HAS_DEVICE = CacheNamespace("staff:two-factor:{user_id}", ttl=300, stale=0)
# Sent with `user`, in the transaction of the change. Whatever authenticated without the new factor must end.
second_factor_changed = Signal()


class OtpRequiredError(KamioiError):
    """Enter the code from your authenticator app."""

    status_code: ClassVar[int] = 401


class InvalidOtpError(OtpRequiredError):
    """The code is wrong or was used before, or there were too many attempts. Wait a moment and enter the next code."""


class OtpSetupRequiredError(KamioiError):
    """Staff accounts need two-factor authentication. Log in to the admin once and set it up."""

    status_code: ClassVar[int] = 403


# --- Devices ----------------------------------------------------------------------------------------------------
def has_device(user_id: int) -> bool:
    """Return whether this user has set up a second factor."""
    return _HAS_DEVICE.get(lambda: _query_device(user_id), user_id=user_id)


def _query_device(user_id: int) -> bool:
    return TOTPDevice.objects.filter(user_id=user_id, confirmed=True).exists()


@receiver([post_save, post_delete], sender=TOTPDevice)
def _invalidate_has_device(sender: Any, instance: Any, **_: Any) -> None:
    _HAS_DEVICE.invalidate(user_id=instance.user_id)


def verify_otp(*, user: Any, code: str) -> Any:
    """Use up a code, and return its device.

    Raises:
        InvalidOtpError: it is not a valid code of this user now.
    """
    text = code.replace(" ", "").replace("-", "").lower()
    model: Any = TOTPDevice if text.isdecimal() else StaticDevice
    with transaction.atomic():
        for device in model.objects.select_for_update().filter(user=user, confirmed=True).order_by("pk"):
            if device.verify_token(text):
                return device
    raise InvalidOtpError


def check_login(*, user: Any, code: str) -> None:
    """Check the second factor of staff at the API's log-in.

    Raises:
        OtpRequiredError: the user has a second factor, and the code is missing.
        InvalidOtpError: the code is wrong.
        OtpSetupRequiredError: `STAFF_OTP_REQUIRED`, and the user has no second factor.
    """
    if not user.is_staff:
        return
    if _query_device(user.pk):
        if not code:
            raise OtpRequiredError
        verify_otp(user=user, code=code)
    elif settings.STAFF_OTP_REQUIRED:
        raise OtpSetupRequiredError


def confirm_device(*, user: Any, code: str) -> tuple[Any, list[str]]:
    """Confirm the device that the user is setting up; return it and the recovery codes.

    Raises:
        InvalidOtpError: the code is wrong.
    """
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).order_by("-pk").first()
        is_valid = device is not None and device.verify_token(code.replace(" ", ""))
        if is_valid:
            device.confirmed = True
            device.save(update_fields=["confirmed"])
            TOTPDevice.objects.filter(user=user, confirmed=False).delete()
            codes = create_recovery_codes(user=user)  # ends all other access
            audit_log(user, "Two-factor was set up.", target=f"two-factor of {user}", action=ADDITION)
    if not is_valid:  # outside the transaction, which stores the failed attempt
        raise InvalidOtpError
    return device, codes


def create_recovery_codes(*, user: Any) -> list[str]:
    """Replace the recovery codes of the user."""
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        device = StaticDevice.objects.create(user=user, name="recovery codes")
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
        second_factor_changed.send(sender=None, user=user)
    return codes


def remove_devices(*, user: Any, actor: Any) -> None:
    """Turn the second factor off."""
    with transaction.atomic():
        for model in (TOTPDevice, StaticDevice):
            for device in model.objects.filter(user=user):
                device.delete()
        second_factor_changed.send(sender=None, user=user)
        audit_log(actor, "Two-factor was turned off.", target=f"two-factor of {user}", action=DELETION)


# --- Middleware -------------------------------------------------------------------------------------------------
class TwoFactorMiddleware:
    """Stops the sessions of staff who have not entered a code, or must set up a second factor first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, or redirect to the two-factor page."""
        return (_uses_session(request) and _refusal(request)) or self._get_response(request)


def _uses_session(request: HttpRequest) -> bool:
    """Return whether the request is authenticated by session; bearer tokens are issued only after the code."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return False
    if request.path.startswith("/api/"):
        return not request.headers.get("Authorization", "").lower().startswith("bearer ")
    return request.path.startswith(reverse("admin:index"))


def _refusal(request: HttpRequest) -> HttpResponse | None:
    user: Any = request.user
    if not user.is_authenticated or not user.is_staff or user.is_verified():
        return None
    if not has_device(user.pk) and not settings.STAFF_OTP_REQUIRED:
        return None
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("Enter your two-factor code in the admin first."), status=403)
    page = reverse("admin-two-factor")
    if request.path in {page, reverse("admin:login"), reverse("admin:logout"), reverse("admin:jsi18n")}:
        return None
    return HttpResponseRedirect(f"{page}?{NEXT}={quote(request.get_full_path())}")
