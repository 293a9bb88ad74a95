"""What can go wrong in this room. The docstring is the default message."""

from kamioi_site.errors import KamioiError


class MerchantChanged(KamioiError):
    """Somebody else decided this merchant meanwhile. Look at it again."""

    status_code = 409


class TickerRefused(KamioiError):
    """This ticker cannot be invested in."""


class DecisionRefused(KamioiError):
    """This decision is not possible."""


class UndoRefused(KamioiError):
    """This decision can no longer be undone."""

    status_code = 409


class AssetRefused(KamioiError):
    """This cannot happen to the asset; nothing was booked."""
