"""Errors of the app. The docstring is the default message."""

from kamioi_site.errors import KamioiError


class PriceProviderError(KamioiError):
    """The price provider returns no prices."""


class StatementError(KamioiError):
    """The statement cannot be read."""


class StatementTooLargeError(StatementError):
    """The statement is too large."""

    status_code = 413


class UploadQuotaError(KamioiError):
    """The limit of uploads is reached."""

    status_code = 429

    def __init__(self, message: str, *, wait: int = 3600) -> None:
        super().__init__(message)
        self.wait = wait


class InvalidTransactionError(KamioiError):
    """The purchase is invalid."""


class IdempotencyConflictError(KamioiError):
    """This idempotency key was used for a different request."""

    status_code = 409


class RequestInProgressError(KamioiError):
    """The first request with this idempotency key is still in progress."""

    status_code = 409


class InvalidEntryError(KamioiError):
    """This journal entry cannot be posted."""


class EntryAlreadyBookedError(KamioiError):
    """A posted entry cannot be changed. Reverse it and create a new one."""

    status_code = 409


class UserChangeNotAllowedError(KamioiError):
    """This user cannot be changed in this way."""

    status_code = 403


class EmailTakenError(KamioiError):
    """This e-mail address is already registered."""

    status_code = 409


class InvalidResetTokenError(KamioiError):
    """This link is invalid or has expired. Request a new one."""


class InvalidEmailLinkError(KamioiError):
    """This link is invalid or has expired."""


class WrongPasswordError(KamioiError):
    """The current password is wrong."""


class TooManySettingsError(KamioiError):
    """No more settings can be stored."""


class TooManyGoalsError(KamioiError):
    """The maximum number of goals is reached. Delete one first."""


class ErasureNotAllowedError(KamioiError):
    """This user cannot be erased now."""

    status_code = 409
