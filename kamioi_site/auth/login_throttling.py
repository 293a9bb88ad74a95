"""Limits on guessing passwords, at the log-in and where a user confirms the password. No attacker can lock a user out.

- **E-mail and address** (django-axes, in PostgreSQL): after `LOGIN_FAILURES` wrong passwords for an e-mail from one
  address, this pair is locked for `LOGIN_COOL_OFF_MINUTES`. The user can still log in from other addresses.
- **Address** (`API_RATES["login"]`, in Redis): limits one address that tries many e-mails. It is large, because many
  customers may share an address.
- **E-mail** (`API_RATES["login_email"]`, in Redis): limits many addresses that try one e-mail.

Because an attacker could use the last two to block others, attempts from an address where the user has logged in before
do not count there.

IPv6 addresses count by their /64 network, because a household or server has a whole network.
"""

import hashlib
import ipaddress
import logging
from typing import Any, Final

from axes.backends import AxesStandaloneBackend
from axes.utils import reset
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.contrib.auth.views import PasswordChangeView
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse_lazy
from rest_framework.exceptions import Throttled
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from kamioi_site.api.throttling import RateLimitThrottle
from kamioi_site.errors import error_body

logger = logging.getLogger(__name__)

_KNOWN_ADDRESS_SECONDS: Final = 90 * 86_400
_IPV6_PREFIX: Final = 64
LOCKED_MESSAGE: Final = "Too many wrong passwords from here. Try again in {minutes} minutes."


def client_address(request: HttpRequest) -> str | None:
    """Return the caller's address, or network for IPv6; None over a Unix socket."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False).network_address)


def login_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """Return the e-mail of the attempt in lower case, as failures are counted."""
    name = (credentials or {}).get("username") or request.POST.get("username") or ""
    return str(name).strip().lower().replace("\0", "")[:254]


class LockoutBackend(AxesStandaloneBackend):
    """Refuses locked pairs before the password is checked, unless there is no request and so no address."""

    def authenticate(self, request: HttpRequest | None, username: str | None = None, **credentials: Any) -> None:
        """Return None, so that the next backend checks the password.

        Raises:
            PermissionDenied: this e-mail is locked at this address.
        """
        if request is not None:
            super().authenticate(request, username=username, **credentials)


def lockout_response(request: HttpRequest, *_: Any) -> HttpResponse:
    """Return 429: JSON under /api/, a page elsewhere."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    text = LOCKED_MESSAGE.format(minutes=-(-seconds // 60))
    if request.path.startswith("/api/"):
        response: HttpResponse = JsonResponse(error_body(text), status=429)
    else:
        response = render(request, "kamioi/locked_out.html", {"text": text}, status=429)
    response["Retry-After"] = str(seconds)
    return response


# --- Counting by address and by e-mail --------------------------------------------------------------------------
class LoginAttemptCounter(RateLimitThrottle):
    """Counts log-in attempts by address, and by e-mail from unknown addresses."""

    fail_open = False

    def allows_login(self, request: HttpRequest, email: str) -> bool:
        """Count this attempt; False if it exceeds a limit; `wait()` then returns for how long."""
        email = email.strip().lower()
        if address_is_known(request, email):
            return True
        address_allowed = self.count(request, scope="login", key="ip")
        return self.count(request, scope="login_email", key=lambda *_: email) and address_allowed


def confirm_password(request: HttpRequest, user: Any, password: str) -> bool:
    """Return whether this is the password of the logged-in user. Every attempt counts like a log-in.

    Do not call it in a transaction that a wrong password rolls back: the failure is a row. When the pair is locked,
    `AxesMiddleware` replaces the response.

    Raises:
        Throttled: too many attempts.
    """
    counter = LoginAttemptCounter()
    if not counter.allows_login(request, user.get_username()):
        raise Throttled(counter.wait())
    if authenticate(request, username=user.get_username(), password=password) is None:
        return False
    reset(ip=client_address(request), username=user.get_username().lower())
    return True


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """The admin's form to change one's own password."""

    def __init__(self, user: Any, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self._request = request

    def clean_old_password(self) -> str:
        """Check the current password by the rules of a log-in."""
        password: str = self.cleaned_data["old_password"]
        try:
            confirmed = confirm_password(self._request, self.user, password)
        except Throttled as error:
            raise ValidationError(str(error.detail), code="rate") from error
        if not confirmed:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return password


class OwnPasswordView(PasswordChangeView):
    """The admin's page to change one's own password."""

    form_class = OwnPasswordForm
    template_name = "registration/password_change_form.html"
    success_url = reverse_lazy("admin:password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**admin.site.each_context(self.request), **kwargs)


def address_is_known(request: HttpRequest, email: str) -> bool:
    """Return whether the user has logged in from this address before."""
    return bool(cache.get(_known_address_key(client_address(request), email)))


def _known_address_key(address: str | None, email: str) -> str:
    return "login:known:" + hashlib.sha256(f"{address}|{email}".encode()).hexdigest()


@receiver(user_logged_in)
def _remember_address(sender: Any, request: HttpRequest | None, user: Any, **_: Any) -> None:
    if request is not None:
        email = str(user.get_username()).strip().lower()
        cache.set(_known_address_key(client_address(request), email), 1, _KNOWN_ADDRESS_SECONDS)


class StaffLoginForm(AuthenticationForm):
    """The admin's log-in form, counted like the API. Without Redis, django-axes is the only limit."""

    def clean(self) -> dict[str, Any]:
        """Check the credentials.

        Raises:
            ValidationError: wrong credentials, or too many attempts.
        """
        counter = LoginAttemptCounter()
        counter.fail_open = True
        if not counter.allows_login(self.request, self.cleaned_data.get("username") or ""):
            minutes = max(1, round((counter.wait() or 60) / 60))
            raise ValidationError(f"Too many attempts. Try again in {minutes} minutes.", code="rate")
        cleaned: dict[str, Any] = super().clean()
        return cleaned
