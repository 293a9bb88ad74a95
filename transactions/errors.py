"""What can go wrong in this room. The docstring is the default message."""

from kamioi_site.errors import KamioiError


class SettingError(KamioiError):
    """A setting in the admin has a value that cannot be used."""


class PriceProviderError(KamioiError):
    """The price provider gives no prices."""


class StatementError(KamioiError):
    """The statement cannot be read."""


class StatementTooLarge(StatementError):
    """The statement is larger than is accepted."""

    status_code = 413


class StatementBusy(KamioiError):
    """Another worker is reading this statement."""

    status_code = 409
    passing = True


class TransactionRefused(KamioiError):
    """The purchase cannot be stored as it is."""


class IdempotencyConflict(KamioiError):
    """This idempotency key was used for something else."""

    status_code = 409


class RequestUnderWay(KamioiError):
    """The first request with this idempotency key is still being answered."""

    status_code = 409


class EntryRefused(KamioiError):
    """This journal entry cannot be booked as it is."""


class EntryIsBooked(KamioiError):
    """A posted entry does not change: reverse it, and book it anew."""

    status_code = 409


class PersonRefused(KamioiError):
    """This cannot be changed about the person."""

    status_code = 403


class EmailTaken(KamioiError):
    """Somebody is registered with this e-mail already."""

    status_code = 409


class ResetTokenInvalid(KamioiError):
    """The link is not valid any more. Ask for a new one."""


class WrongPassword(KamioiError):
    """The present password is wrong."""


class TooManySettings(KamioiError):
    """No more settings can be kept."""


class TooManyGoals(KamioiError):
    """No more goals can be kept. Delete one first."""


class EraseRefused(KamioiError):
    """This person cannot be erased now."""

    status_code = 409
