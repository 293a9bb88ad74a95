"""Rows by which a bank corrects or deletes an earlier row (CORRECTFITID in OFX).

A row that nothing was bought for is replaced in place, so that both files can be imported again without harm. What
cannot be corrected automatically is rejected with the reason; it is never booked beside the row that it replaces.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from django.db import connection
from django.utils import timezone

from kamioi_site.imports.rows import RowError
from transactions.models import Transaction, User
from transactions.rules.merchant_key import normalise
from transactions.sql import load_sql
from transactions.statements.values import StatementRow, as_csv, shorten

# A bank corrects what it posted within a quarter.
_REACH: Final = timedelta(days=92)
Status = Transaction.Status
_BOOKED: Final = {Status.COMPLETED, Status.MAPPED, Status.REFUNDED}


@dataclass(slots=True)
class CorrectionResult:
    """The outcome of the corrections: how many replaced a row or were known, rows to store, and rejected rows."""

    replaced: int = 0
    duplicates: int = 0
    rows: list[StatementRow] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)


def reference_digest(account: str, reference: str) -> int:
    """Return the digest of a bank's id of a row, for the column `bank_reference`."""
    digest = blake2b(f"{account}\x1f{reference}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def apply_corrections(*, user: User, rows: Sequence[StatementRow]) -> CorrectionResult:
    """Correct the rows that these rows name; call it in the batch's transaction, with the user's bucket locked."""
    result = CorrectionResult()
    if not rows:
        return result
    digests = {
        reference_digest(row.account, reference)
        for row in rows
        if row.correction
        for reference in (row.reference, row.correction.reference)
    }
    stored = {
        found.bank_reference: found
        for found in Transaction.objects.filter(
            user=user,
            date__gte=min(row.date for row in rows) - _REACH,
            date__lte=max(row.date for row in rows) + _REACH,
            bank_reference__in=digests,
        ).exclude(status="undone")
    }
    for row in rows:
        _apply(row, stored, result)
    return result


def _apply(row: StatementRow, stored: dict[int | None, Transaction], result: CorrectionResult) -> None:
    correction = row.correction
    assert correction is not None  # noqa: S101
    digest = reference_digest(row.account, row.reference)
    original = stored.get(reference_digest(row.account, correction.reference))
    name = shorten(correction.reference)
    problem = ""
    if original is None:
        if correction.is_deletion:
            problem = f"deletes the record “{name}”"
        elif digest in stored:
            result.duplicates += 1
        elif correction.is_in_file:
            result.rows.append(row)
        else:
            problem = f"corrects the record “{name}”, which was not imported"
    elif original.row_class == Transaction.RowClass.WITHDRAWN:
        problem = f"deletes the record “{name}”"
    elif problem := _obstacle(row, original):
        problem = f"corrects the record “{name}”, {problem}"
    elif not _replace(row, original, digest):
        problem = f"corrects the record “{name}”, which is being processed; import the file again"
    elif correction.is_deletion:
        problem = f"deletes the record “{name}”, which is now excluded"
    else:
        result.replaced += 1
        stored[digest] = stored.pop(original.bank_reference)
    if problem:
        raw = as_csv([str(row.date.date()), row.merchant, str(row.amount), row.description, row.reference])
        result.errors.append(RowError(row.row_number, "reference", problem, raw))


def _obstacle(row: StatementRow, original: Transaction) -> str:
    """Return why the stored row cannot be corrected automatically; empty when it can."""
    if original.status in _BOOKED:
        return "which is already processed; correct it by hand"
    if original.status == Status.NEEDS_REVIEW:
        return "whose merchant awaits review; import the file again after the decision"
    if original.status == Status.FAILED:
        return "which has failed; correct it by hand"
    return "" if original.date.date() == row.date.date() else "which is of another day; correct it by hand"


def _replace(row: StatementRow, original: Transaction, digest: int) -> bool:
    is_deletion = row.correction is not None and row.correction.is_deletion
    with connection.cursor() as cursor:
        cursor.execute(
            load_sql("correct_transaction"),
            {
                "user": original.user_id,
                "id": original.pk,
                "date": original.date,
                "amount": original.amount if is_deletion else row.amount,
                "merchant": original.merchant if is_deletion else row.merchant,
                "merchant_key": original.merchant_key if is_deletion else normalise(row.merchant),
                "description": original.description if is_deletion else row.description,
                "reference": original.bank_reference if is_deletion else digest,
                "row_class": Transaction.RowClass.WITHDRAWN if is_deletion else row.row_class,
                "now": timezone.now(),
            },
        )
        return bool(cursor.fetchone()[0])
