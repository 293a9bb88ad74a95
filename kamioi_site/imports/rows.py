"""Rows of an imported file that cannot be read."""

from dataclasses import dataclass

from kamioi_site.errors import KamioiError


class ImportBusyError(KamioiError):
    """Another worker is importing this file."""

    status_code = 409
    passing = True


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that cannot be read: the field, the reason, and the row itself as CSV (at most 2,000 characters)."""

    row_number: int
    field: str
    reason: str
    raw: str
