"""The admin page of the second factor: enter a code, set it up, or manage it."""

import base64
import logging
from typing import Any

import django_otp
import segno
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.auth.two_factor import (
    NEXT,
    InvalidOtpError,
    confirm_device,
    create_recovery_codes,
    has_device,
    remove_devices,
    verify_otp,
)
from kamioi_site.http.compression import uncompressed

logger = logging.getLogger(__name__)


def two_factor_view(request: HttpRequest) -> HttpResponse:
    """Show the step that this user is at."""
    user: Any = request.user
    if not has_device(user.pk):
        return _set_up(request)
    return _manage(request) if user.is_verified() else _enter_code(request)


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    page = {**admin.site.each_context(request), "title": title, "required": settings.STAFF_OTP_REQUIRED, **context}
    return uncompressed(TemplateResponse(request, f"admin/two_factor/{template}.html", page))


def _log_in(request: HttpRequest, device: Any) -> None:
    user: Any = request.user
    django_otp.login(request, device)
    update_session_auth_hash(request, user)  # with a new key, because the session gained privileges


def _enter_code(request: HttpRequest) -> HttpResponse:
    next_url = request.POST.get(NEXT) or request.GET.get(NEXT) or ""
    error = ""
    if request.method == "POST":
        try:
            _log_in(request, verify_otp(user=request.user, code=request.POST.get("code", "")))
        except InvalidOtpError as invalid:
            logger.warning("wrong second factor of user %s", request.user.pk)
            error = str(invalid)
        else:
            is_safe = url_has_allowed_host_and_scheme(next_url, {request.get_host()}, require_https=request.is_secure())
            return redirect(next_url if is_safe else "admin:index")
    return _page(request, "ask", "Second factor", error=error, goal=next_url)


def _set_up(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    error = ""
    if request.method == "POST":
        try:
            device, codes = confirm_device(user=user, code=request.POST.get("code", ""))
        except InvalidOtpError as invalid:
            error = str(invalid)
        else:
            _log_in(request, device)
            return _page(request, "codes", "Your recovery codes", codes=codes)
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": "authenticator"})
    picture = segno.make(device.config_url, micro=False).svg_data_uri(scale=5, light="#fff")
    secret = base64.b32encode(device.bin_key).decode().rstrip("=")
    groups = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return _page(request, "set_up", "Set up two-factor", picture=picture, secret=groups, error=error)


def _manage(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if request.method == "POST":
        action = request.POST.get("action")
        if action == "codes":
            codes = create_recovery_codes(user=user)
            update_session_auth_hash(request, user)
            audit_log(user, "New recovery codes were generated.", target=f"two-factor of {user}")
            return _page(request, "codes", "Your recovery codes", codes=codes)
        if action == "off" and not settings.STAFF_OTP_REQUIRED:
            try:
                verify_otp(user=user, code=request.POST.get("code", ""))
            except InvalidOtpError as invalid:
                messages.error(request, str(invalid))
            else:
                remove_devices(user=user, actor=user)
                update_session_auth_hash(request, user)
                messages.success(request, "Two-factor is off.")
        return redirect("admin-two-factor")
    left = StaticToken.objects.filter(device__user=user).count()
    return _page(request, "on", "Two-factor", left=left)
