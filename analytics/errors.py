"""Errors of analytics."""

from kamioi_site.errors import KamioiError


class InvalidReportError(KamioiError):
    """This report cannot be generated."""


class BooksOutOfBalanceError(KamioiError):
    """The ledger and the transactions disagree, so no report was written. Run `manage.py verify_ledger` for details."""
