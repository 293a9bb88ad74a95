"""The base class of Kamioi's errors. The docstring of an error class is its default message."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class KamioiError(Exception):
    """Something went wrong."""

    status_code: ClassVar[int] = 400  # of the API response: 400, 401, 403, 404, 409, 413, 429 or 507
    passing: ClassVar[bool] = False  # whether a background task that raises it is retried later
    wait: int | None = None  # seconds until the request may succeed, for Retry-After
    details: Mapping[str, Any] | None = None  # more members of the API response

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


def error_body(message: str, errors: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Return the body of every error response of the API."""
    body: dict[str, Any] = {"success": False, "error": message}
    if errors:
        body["errors"] = {field: list(texts) for field, texts in errors.items()}
    return body
