"""Retry decisions for failed requests."""

import math
import random
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx2
import openai
from django.utils import timezone

from kamioi_site.numbers import parse_decimal

MAX_RETRY_AFTER = 60.0  # seconds; a longer Retry-After counts as a failure
MAX_BACKOFF = 20.0  # seconds


def is_server_healthy(error: BaseException) -> bool:
    """Return whether the error shows a working server: a rate limit, or a request format it does not support."""
    if isinstance(error, openai.RateLimitError):
        return error.code != "insufficient_quota"
    return isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError)


def retry_delay(error: Exception, attempt: int, *, base: float) -> float | None:
    """Return the seconds to wait before the next retry after `attempt` retries, or None when retrying is pointless.

    `Retry-After` is honoured up to `MAX_RETRY_AFTER`. Otherwise the delay doubles from `base` up to `MAX_BACKOFF`, with
    jitter over its upper half so that workers do not return together.
    """
    if isinstance(error, openai.APIStatusError):
        if error.code == "insufficient_quota" or (error.status_code not in (408, 409, 429) and error.status_code < 500):
            return None
        requested = _retry_after(error.response.headers)
        if requested is not None:
            # Jitter here too, so that not every worker returns at that moment.
            return requested + random.uniform(0, base) if requested <= MAX_RETRY_AFTER else None
    elif not isinstance(error, openai.APIConnectionError | httpx2.TransportError | TimeoutError):
        return None
    return min(base * 2**attempt, MAX_BACKOFF) * random.uniform(0.5, 1)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse the `Retry-After` header, seconds or a date; None when it is absent or invalid."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(parse_decimal(text))
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - timezone.now()).total_seconds()
        return max(seconds, 0.0)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
