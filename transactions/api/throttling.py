"""Rate limits of endpoints that invite guessing or sending in bulk. Without Redis they refuse."""

from typing import Any

from rest_framework.request import Request

from kamioi_site.api.throttling import RateLimitThrottle
from kamioi_site.auth.login_throttling import LoginAttemptCounter


class LogInRateLimit(LoginAttemptCounter):
    """Counts login attempts by address and by e-mail."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the attempt."""
        body = request.data
        return self.allows_login(request._request, str(body.get("email", "")) if isinstance(body, dict) else "")


class GuardedRateLimit(RateLimitThrottle):
    """Counts by address; if the view sets `email_scope`, also by the caller's e-mail or that of the body."""

    fail_open = False

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the attempt."""
        allowed = self.count(request, scope=view.rate_scope, key="ip")
        if scope := getattr(view, "email_scope", None):
            email = getattr(request.user, "email", "")
            if not email and isinstance(request.data, dict):
                email = str(request.data.get("email", ""))
            email = email.strip().lower()
            allowed = self.count(request, scope=scope, key=lambda *_: email) and allowed
        return allowed
