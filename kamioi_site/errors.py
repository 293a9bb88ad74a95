"""The root of Kamioi's errors. The docstring of an error class is its default message."""


class KamioiError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
