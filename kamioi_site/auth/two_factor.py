"""A second factor for staff: a code of an authenticator app (TOTP), with recovery codes for the day the phone is gone.

- Who has set it up is asked for a code after the password, in the admin and at the API's log-in. Until then their session may do
  nothing: not in the admin, and not at the API either.
- With `STAFF_OTP_REQUIRED` staff who have not set it up can do nothing but that.
- A code works once, and wrong ones make the next try wait ever longer (django-otp). Recovery codes work once.
- Lost phone and lost codes: an administrator deletes the device on its admin page; the person sets up a new one.
"""

import base64
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Final
from urllib.parse import quote

import django_otp
import segno
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, DELETION
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.cache.namespaces import CacheNamespace
from kamioi_site.errors import KamioiError, error_body
from kamioi_site.http.compression import uncompressed

logger = logging.getLogger(__name__)

RECOVERY_CODES: Final = 10
_HAS_DEVICE = CacheNamespace("staff:two-factor:{user_id}", ttl=300, stale=0)
_NEXT: Final = "next"


class OtpRequiredError(KamioiError):
    """A code of your authenticator app is needed."""

    status_code: ClassVar[int] = 401


class InvalidOtpError(OtpRequiredError):
    """The code is wrong, was used before, or was tried too often; wait a moment and use the next one."""


class OtpSetupRequiredError(KamioiError):
    """Staff need a second factor here. Log in to the admin once and set it up."""

    status_code: ClassVar[int] = 403


# --- Devices ----------------------------------------------------------------------------------------------------
def has_device(user_id: int) -> bool:
    """Whether this person has set up a second factor."""
    return _HAS_DEVICE.get(lambda: _look_for_device(user_id), user_id=user_id)


def _look_for_device(user_id: int) -> bool:
    return TOTPDevice.objects.filter(user_id=user_id, confirmed=True).exists()


@receiver([post_save, post_delete], sender=TOTPDevice)
def _device_changed(sender: Any, instance: Any, **_: Any) -> None:
    _HAS_DEVICE.invalidate(user_id=instance.user_id)


def verify_otp(*, user: Any, code: str) -> Any:
    """The device that this code is of. The code is used up.

    Raises:
        InvalidOtpError: no device of this person says so now.
    """
    text = code.replace(" ", "").replace("-", "").lower()
    model: Any = TOTPDevice if text.isdecimal() else StaticDevice
    with transaction.atomic():
        for device in model.objects.select_for_update().filter(user=user, confirmed=True).order_by("pk"):
            if device.verify_token(text):
                return device
    raise InvalidOtpError


def check_login(*, user: Any, code: str) -> None:
    """What the API asks of staff beside the password.

    Raises:
        OtpRequiredError: they have a second factor and gave no code.
        InvalidOtpError: the code is not right.
        OtpSetupRequiredError: `STAFF_OTP_REQUIRED`, and they have none.
    """
    if not user.is_staff:
        return
    if _look_for_device(user.pk):
        if not code:
            raise OtpRequiredError
        verify_otp(user=user, code=code)
    elif settings.STAFF_OTP_REQUIRED:
        raise OtpSetupRequiredError


def device_confirm(*, user: Any, code: str) -> tuple[Any, list[str]]:
    """Take the device that was begun into use. Returns it and the recovery codes.

    Raises:
        InvalidOtpError: the app shows another code.
    """
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).order_by("-pk").first()
        right = device is not None and device.verify_token(code.replace(" ", ""))
        if right:
            device.confirmed = True
            device.save(update_fields=["confirmed"])
            TOTPDevice.objects.filter(user=user, confirmed=False).delete()
            codes = create_recovery_codes(user=user)
            audit_log(user, "Two-factor was set up.", target=f"two-factor of {user}", action=ADDITION)
    if not right:  # outside: what the wrong try cost must be kept
        raise InvalidOtpError
    return device, codes


def create_recovery_codes(*, user: Any) -> list[str]:
    """New recovery codes; the old ones are void."""
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        device = StaticDevice.objects.create(user=user, name="recovery codes")
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def device_remove(*, user: Any) -> None:
    """Turn the second factor off."""
    with transaction.atomic():
        for model in (TOTPDevice, StaticDevice):
            for device in model.objects.filter(user=user):
                device.delete()
        audit_log(user, "Two-factor was turned off.", target=f"two-factor of {user}", action=DELETION)


# --- Nothing before the code ------------------------------------------------------------------------------------
class TwoFactorMiddleware:
    """Holds staff up who have yet to show a second factor, or to set one up."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer, or the way to the code."""
        return (_session_is_used(request) and _held_up(request)) or self._get_response(request)


def _session_is_used(request: HttpRequest) -> bool:
    """A bearer token was given out after the code; sessions are what is left."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return False
    if request.path.startswith("/api/"):
        return not request.headers.get("Authorization", "").lower().startswith("bearer ")
    return request.path.startswith(reverse("admin:index"))


def _held_up(request: HttpRequest) -> HttpResponse | None:
    user: Any = request.user
    if not user.is_authenticated or not user.is_staff or user.is_verified():
        return None
    if not has_device(user.pk) and not settings.STAFF_OTP_REQUIRED:
        return None
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("Show your second factor in the admin first."), status=403)
    page = reverse("admin-two-factor")
    if request.path in {page, reverse("admin:login"), reverse("admin:logout"), reverse("admin:jsi18n")}:
        return None
    return HttpResponseRedirect(f"{page}?{_NEXT}={quote(request.get_full_path())}")


# --- The page ---------------------------------------------------------------------------------------------------
def two_factor_view(request: HttpRequest) -> HttpResponse:
    """Show a code, set the second factor up, or look after it: whichever this person is at."""
    user: Any = request.user
    if not has_device(user.pk):
        return _set_up(request)
    return _look_after(request) if user.is_verified() else _ask(request)


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    page = {**admin.site.each_context(request), "title": title, "required": settings.STAFF_OTP_REQUIRED, **context}
    return uncompressed(TemplateResponse(request, f"admin/two_factor/{template}.html", page))


def _verified(request: HttpRequest, device: Any) -> None:
    django_otp.login(request, device)
    request.session.cycle_key()  # what the session may do has changed


def _ask(request: HttpRequest) -> HttpResponse:
    goal = request.POST.get(_NEXT) or request.GET.get(_NEXT) or ""
    error = ""
    if request.method == "POST":
        try:
            _verified(request, verify_otp(user=request.user, code=request.POST.get("code", "")))
        except InvalidOtpError as wrong:
            logger.warning("wrong second factor of user %s", request.user.pk)
            error = str(wrong)
        else:
            safe = url_has_allowed_host_and_scheme(goal, {request.get_host()}, require_https=request.is_secure())
            return redirect(goal if safe else "admin:index")
    return _page(request, "ask", "Second factor", error=error, goal=goal)


def _set_up(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    error = ""
    if request.method == "POST":
        try:
            device, codes = device_confirm(user=user, code=request.POST.get("code", ""))
        except InvalidOtpError as wrong:
            error = str(wrong)
        else:
            _verified(request, device)
            return _page(request, "codes", "Your recovery codes", codes=codes)
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": "authenticator"})
    picture = segno.make(device.config_url, micro=False).svg_data_uri(scale=5, light="#fff")
    secret = base64.b32encode(device.bin_key).decode().rstrip("=")
    groups = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return _page(request, "set_up", "Set up two-factor", picture=picture, secret=groups, error=error)


def _look_after(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if request.method == "POST":
        action = request.POST.get("action")
        if action == "codes":
            codes = create_recovery_codes(user=user)
            audit_log(user, "New recovery codes were made.", target=f"two-factor of {user}")
            return _page(request, "codes", "Your recovery codes", codes=codes)
        if action == "off" and not settings.STAFF_OTP_REQUIRED:
            try:
                verify_otp(user=user, code=request.POST.get("code", ""))
            except InvalidOtpError as wrong:
                messages.error(request, str(wrong))
            else:
                device_remove(user=user)
                messages.success(request, "Two-factor is off.")
        return redirect("admin-two-factor")
    left = StaticToken.objects.filter(device__user=user).count()
    return _page(request, "on", "Two-factor", left=left)
