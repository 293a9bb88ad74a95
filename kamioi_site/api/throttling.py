"""Rate limits of the API, counted in Redis by the rules of django-ratelimit.

Rates are set in `settings.API_RATES` (scope → list of `count/period`); an empty list lifts the limit. Without Redis
requests pass, except in scopes that protect against guessing (login).
"""

import time
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django_ratelimit import core as ratelimit
from redis import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from kamioi_site.cache.redis import redis_client

# `Retry-After` when the counters of a guarded scope cannot be read, in seconds.
_NO_REDIS_WAIT: Final = 30.0
# Counts one request in every window; a counter expires with its window.
_COUNT: Final = """
local counts = {}
for i, key in ipairs(KEYS) do
  counts[i] = redis.call('INCR', key)
  if counts[i] == 1 then redis.call('EXPIRE', key, ARGV[i]) end
end
return counts
"""


class RateCounter(NamedTuple):
    """The counter of one client in the current window of one rate."""

    key: str
    limit: int
    seconds: int  # lifetime of the counter
    window_end: int


def rate_counters(scope: str, value: str) -> list[RateCounter]:
    """Return a client's counters, one for each rate of the scope, with the windows and keys of django-ratelimit."""
    if not getattr(settings, "RATELIMIT_ENABLE", True):
        return []
    counters = []
    for rate in settings.API_RATES[scope]:
        limit, period = ratelimit._split_rate(rate)
        window = ratelimit._get_window(value, period)
        key = ratelimit._make_cache_key(f"api:{scope}", window, rate, value, None)
        counters.append(RateCounter(cache.make_key(key), limit, period + ratelimit.EXPIRATION_FUDGE, window))
    return counters


def hourly_limit(scope: str) -> int | None:
    """Return how many requests an hour the strictest rate of the scope allows; None without a limit."""
    rates = [ratelimit._split_rate(rate) for rate in settings.API_RATES[scope]]
    return min((count * 3600 // seconds for count, seconds in rates), default=None)


class RateLimitThrottle(BaseThrottle):
    """Limits anonymous clients by address (IPv6 by /64) and others by user.

    A view may name its own scope in `rate_scope`; its requests count in that scope only.
    """

    fail_open = True
    _wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count the request; False when a rate is exceeded."""
        authenticated = bool(request.user and request.user.is_authenticated)
        scope = getattr(view, "rate_scope", None) or ("authenticated" if authenticated else "anonymous")
        return self.count(request, scope=scope, key="user" if authenticated else "ip")

    def count(self, request: Request | HttpRequest, *, scope: str, key: Any) -> bool:
        """Count one request under `key` against every rate of the scope; False when one is exceeded."""
        if not settings.API_RATES[scope]:
            return True
        value = key(scope, request) if callable(key) else ratelimit._SIMPLE_KEYS[key](request)
        counters = rate_counters(scope, value)
        if not counters:
            return True
        try:
            counts: Any = redis_client().eval(
                _COUNT,
                len(counters),
                *(counter.key for counter in counters),
                *(counter.seconds for counter in counters),
            )
        except RedisError:
            if self.fail_open:
                return True
            self._wait = _NO_REDIS_WAIT
            return False
        for counter, count in zip(counters, counts, strict=True):
            if count > counter.limit:
                self._wait = max(self._wait or 0.0, 1.0, float(counter.window_end - int(time.time())))
        return self._wait is None

    def wait(self) -> float | None:
        """Return the seconds until the longest of the exceeded windows ends."""
        return self._wait
