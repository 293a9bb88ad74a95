"""What can go wrong in this room. The docstring is the default message."""

from kamioi_site.errors import KamioiError


class MerchantChangedError(KamioiError):
    """Somebody else decided this merchant meanwhile. Look at it again."""

    status_code = 409


class InvalidTickerError(KamioiError):
    """This ticker cannot be invested in."""


class DecisionNotAllowedError(KamioiError):
    """This decision is not possible."""


class UndoNotAllowedError(KamioiError):
    """This decision can no longer be undone."""

    status_code = 409


class AssetOperationError(KamioiError):
    """This cannot happen to the asset; nothing was booked."""


class BulkRowError(KamioiError):
    """Rows of uploaded files are not edited one by one; upload a corrected file."""

    status_code = 403


class MappingAlreadyDecidedError(KamioiError):
    """This mapping is decided, and its row is history: correct the merchant in the review queue."""

    status_code = 409
