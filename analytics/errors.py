"""What can be wrong with a report."""

from kamioi_site.errors import KamioiError


class InvalidReportError(KamioiError):
    """This report cannot be made."""


class BooksOutOfBalanceError(KamioiError):
    """The books and the transactions do not say the same, so nothing was printed. `manage.py verify_ledger` says where."""
