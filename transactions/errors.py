"""What can go wrong in this room. The docstring is the default message."""

from kamioi_site.errors import KamioiError


class PriceProviderError(KamioiError):
    """The price provider gives no prices."""


class StatementError(KamioiError):
    """The statement cannot be read."""


class StatementTooLargeError(StatementError):
    """The statement is larger than is accepted."""

    status_code = 413


class StatementBusyError(KamioiError):
    """Another worker is reading this statement."""

    status_code = 409
    passing = True


class InvalidTransactionError(KamioiError):
    """The purchase cannot be stored as it is."""


class IdempotencyConflictError(KamioiError):
    """This idempotency key was used for something else."""

    status_code = 409


class RequestInProgressError(KamioiError):
    """The first request with this idempotency key is still being answered."""

    status_code = 409


class InvalidEntryError(KamioiError):
    """This journal entry cannot be booked as it is."""


class EntryAlreadyBookedError(KamioiError):
    """A posted entry does not change: reverse it, and book it anew."""

    status_code = 409


class UserChangeNotAllowedError(KamioiError):
    """This cannot be changed about the person."""

    status_code = 403


class EmailTakenError(KamioiError):
    """Somebody is registered with this e-mail already."""

    status_code = 409


class InvalidResetTokenError(KamioiError):
    """The link is not valid any more. Ask for a new one."""


class WrongPasswordError(KamioiError):
    """The present password is wrong."""


class TooManySettingsError(KamioiError):
    """No more settings can be kept."""


class TooManyGoalsError(KamioiError):
    """No more goals can be kept. Delete one first."""


class ErasureNotAllowedError(KamioiError):
    """This person cannot be erased now."""

    status_code = 409
