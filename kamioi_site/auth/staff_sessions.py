"""Sessions of staff end after `STAFF_SESSION_IDLE` without a request, and `STAFF_SESSION_LIFETIME` after the log-in."""

import time
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from kamioi_site.http.request_context import POLLED_ROUTES, route_template

_STARTED, _SEEN = "staff_session_started", "staff_session_seen"
# A request is written to the session only so often, because it costs an UPDATE.
_PRECISION: Final = 60.0


@receiver(user_logged_in)
def _start(sender: Any, request: HttpRequest | None, user: Any, **_: Any) -> None:
    # The API's log-in sends the signal too, without a session of this user.
    if request is not None and request.session.get(SESSION_KEY) == str(user.pk):
        request.session[_STARTED] = request.session[_SEEN] = time.time()


class StaffSessionMiddleware:
    """Log out staff whose session is too old; the request goes on as an anonymous one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        # Probes need no user, and a session that nobody logged in to has none.
        if (
            settings.SESSION_COOKIE_NAME in request.COOKIES
            and route_template(request) not in POLLED_ROUTES
            and SESSION_KEY in request.session
        ):
            self._check(request)

    def _check(self, request: HttpRequest) -> None:
        user: Any = request.user
        if not user.is_authenticated or not user.is_staff:
            return
        now, session = time.time(), request.session
        started, seen = session.get(_STARTED, 0.0), session.get(_SEEN, 0.0)
        idle = settings.STAFF_SESSION_IDLE.total_seconds()
        if now - started > settings.STAFF_SESSION_LIFETIME.total_seconds() or now - seen > idle:
            logout(request)
        elif now - seen > min(_PRECISION, idle / 2) and _is_activity(request):
            session[_SEEN] = now


def _is_activity(request: HttpRequest) -> bool:
    """Return whether a person made the request: scripts of an open page poll and read event streams for ever."""
    return request.method != "GET" or request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
