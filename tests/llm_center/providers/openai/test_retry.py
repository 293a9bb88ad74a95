"""Retry decisions."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import openai
import pytest

from llm_center.providers.openai import retry_delay


def status_error(status: int, headers: dict[str, str] | None = None, code: str = "") -> openai.APIStatusError:
    request = httpx2.Request("POST", "http://localhost")
    response = httpx2.Response(status, headers=headers or {}, request=request)
    kind = openai.RateLimitError if status == 429 else openai.APIStatusError
    return kind("", response=response, body={"code": code})


@pytest.mark.parametrize(
    ("error", "attempt", "least", "most"),
    [
        (status_error(429, {"Retry-After": "3"}), 0, 3, 3.5),
        (status_error(429, {"Retry-After": "0"}), 0, 0, 0.5),
        (status_error(503, {"Retry-After": "2.5"}), 0, 2.5, 3),
        (status_error(429, {"Retry-After": "3600"}), 0, None, None),  # too long
        (status_error(429, {"Retry-After": "soon"}), 0, 0.25, 0.5),
        (status_error(429, {"Retry-After": "nan"}), 0, 0.25, 0.5),
        (status_error(429, {"Retry-After": "-5"}), 0, 0.25, 0.5),
        (status_error(429, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=9))}), 0, 0, 9.5),
        (status_error(429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), 0, 0, 0.5),
        (status_error(429), 0, 0.25, 0.5),
        (status_error(500), 1, 0.5, 1),
        (status_error(500), 3, 2, 4),
        (status_error(500), 30, 10, 20),  # never longer
        (status_error(408), 0, 0.25, 0.5),
        (status_error(429, code="insufficient_quota"), 0, None, None),  # the account has no credit
        (status_error(400), 0, None, None),
        (status_error(401), 0, None, None),
        (status_error(307), 0, None, None),
        (openai.APITimeoutError(httpx2.Request("POST", "http://localhost")), 0, 0.25, 0.5),
        (httpx2.ReadError("gone"), 0, 0.25, 0.5),
        (TimeoutError(), 0, 0.25, 0.5),
        (ValueError(), 0, None, None),
    ],
)
def test_retry_delays(error: Exception, attempt: int, least: float | None, most: float | None) -> None:
    delay = retry_delay(error, attempt, base=0.5)
    if least is None or most is None:
        assert delay is None
    else:
        assert delay is not None
        assert least <= delay <= most
