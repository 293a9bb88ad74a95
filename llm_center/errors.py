"""Errors of the LLM Center. The docstring is the default message."""

from kamioi_site.errors import KamioiError


class MerchantChangedError(KamioiError):
    """Another reviewer has decided this merchant in the meantime. Please review it again."""

    status_code = 409


class OwnPurchasesError(KamioiError):
    """Your own purchases wait for the decision on this merchant. Another reviewer must make it."""

    status_code = 403


class InvalidTickerError(KamioiError):
    """This ticker cannot be invested in."""


class DecisionNotAllowedError(KamioiError):
    """This decision is not possible."""


class UndoNotAllowedError(KamioiError):
    """This decision can no longer be undone."""

    status_code = 409


class AssetOperationError(KamioiError):
    """This operation is not possible for the asset; nothing was posted."""


class BulkRowError(KamioiError):
    """Rows of uploaded files cannot be edited individually; upload a corrected file."""

    status_code = 403


class MappingAlreadyDecidedError(KamioiError):
    """This mapping has been decided and is now history: correct the merchant in the review queue."""

    status_code = 409
