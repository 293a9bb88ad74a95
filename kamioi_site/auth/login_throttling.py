"""Who may try to log in, and how often: against guessing, without letting a stranger lock somebody out.

Three nets, each for what the others do not catch:
- **E-mail and address together** (django-axes, in PostgreSQL): after `LOGIN_FAILURES` wrong passwords for an e-mail from one address
  this pair waits `LOGIN_COOL_OFF_MINUTES`, whatever it sends meanwhile. Others who own the e-mail are not touched.
- **Address alone** (`API_RATES["login"]`, in Redis): one address that tries many e-mails.
- **E-mail alone** (`API_RATES["login_email"]`, in Redis): many addresses that try one e-mail. A stranger could hold somebody up with it,
  so it does not count an address from which this person has logged in before.

An IPv6 address is its /64: a household or a server has so many of them.
"""

import hashlib
import ipaddress
import logging
from typing import Any, Final

from axes.backends import AxesStandaloneBackend
from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from unfold.forms import AuthenticationForm

from kamioi_site.api.throttling import RateLimitThrottle
from kamioi_site.errors import error_body

logger = logging.getLogger(__name__)

_KNOWN_SECONDS: Final = 90 * 86_400
_IPV6_PREFIX: Final = 64
LOCKED_TEXT: Final = "Too many wrong passwords from here. Try again in {minutes} minutes."


def client_address(request: HttpRequest) -> str | None:
    """The caller's address; of an IPv6 address its network. None over a Unix socket."""
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
    """The e-mail that is tried, as failures are counted: in lower case."""
    name = (credentials or {}).get("username") or request.POST.get("username") or ""
    return str(name).strip().lower().replace("\0", "")[:254]


class LockoutBackend(AxesStandaloneBackend):
    """django-axes' gate in front of the passwords. A program that checks one without a request has no address to lock."""

    def authenticate(self, request: HttpRequest | None, username: str | None = None, **credentials: Any) -> None:
        """None, so that the next backend looks at the password.

        Raises:
            PermissionDenied: this e-mail waits at this address.
        """
        if request is not None:
            super().authenticate(request, username=username, **credentials)


def lockout_response(request: HttpRequest, *_: Any) -> HttpResponse:
    """429 for who has to wait: JSON under /api/, a page elsewhere."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    text = LOCKED_TEXT.format(minutes=-(-seconds // 60))
    if request.path.startswith("/api/"):
        reply: HttpResponse = JsonResponse(error_body(text), status=429)
    else:
        reply = render(request, "kamioi/locked_out.html", {"text": text}, status=429)
    reply["Retry-After"] = str(seconds)
    return reply


# --- Counting by address and by e-mail --------------------------------------------------------------------------
class LoginAttemptCounter(RateLimitThrottle):
    """Counts log-ins by address and, for strangers, by e-mail."""

    fail_open = False

    def may_try(self, request: HttpRequest, email: str) -> bool:
        """Count this attempt; False when it is one too many. `wait()` says for how long."""
        email = email.strip().lower()
        by_address = self.count(request, scope="login", key="ip")
        if address_is_known(request, email):
            return by_address
        return self.count(request, scope="login_email", key=lambda *_: email) and by_address


def address_is_known(request: HttpRequest, email: str) -> bool:
    """Whether the person has logged in from here before."""
    return bool(cache.get(_known_key(client_address(request), email)))


def _known_key(address: str | None, email: str) -> str:
    return "login:known:" + hashlib.sha256(f"{address}|{email}".encode()).hexdigest()


@receiver(user_logged_in)
def _remember_address(sender: Any, request: HttpRequest | None, user: Any, **_: Any) -> None:
    if request is not None:
        email = str(user.get_username()).strip().lower()
        cache.set(_known_key(client_address(request), email), 1, _KNOWN_SECONDS)


class StaffLoginForm(AuthenticationForm):
    """The admin's log-in, counted like the API's. When nobody can count, django-axes still does."""

    def clean(self) -> dict[str, Any]:
        """The credentials.

        Raises:
            ValidationError: wrong, or tried too often.
        """
        counter = LoginAttemptCounter()
        counter.fail_open = True
        if not counter.may_try(self.request, self.cleaned_data.get("username") or ""):
            minutes = max(1, round((counter.wait() or 60) / 60))
            raise ValidationError(f"Too many attempts. Try again in {minutes} minutes.", code="rate")
        cleaned: dict[str, Any] = super().clean()
        return cleaned
