"""The root of Kamioi's errors. The docstring of an error class is its default message."""

from typing import ClassVar


class KamioiError(Exception):
    """Something went wrong."""

    status_code: ClassVar[int] = 400
    """HTTP status that the API answers with: 400, 403, 404, 409, 413."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
