"""Possible duplicates, each beside the purchase that it probably repeats."""

from collections.abc import Sequence
from typing import Annotated, Final, TypedDict

from django.db import connection

from transactions.models import BankAccount, StatementImport, Transaction, User
from transactions.selectors.transaction_pages import TransactionRow, transaction_row

LIST_LIMIT: Final = 100
COUNT_LIMIT: Final = 10_000
_COUNT: Final = """
    SELECT count(*), count(DISTINCT user_id) FROM (
        SELECT user_id FROM transactions
        WHERE status = 'on_hold' AND related_id IS NOT NULL AND failure_reason = %s LIMIT %s
    ) AS held
"""


class PossibleDuplicateRow(TypedDict):
    """A purchase on hold, the other one, and where each comes from."""

    id: int
    transaction: TransactionRow
    source: Annotated[str, "The bank account, or the file, or “API”."]
    other: TransactionRow | None
    other_source: str


def possible_duplicates_of(user: User) -> list[PossibleDuplicateRow]:
    """Return the customer's possible duplicates, newest first, at most a hundred."""
    rows = list(Transaction.objects.filter(user=user).possible_duplicates().order_by("-date", "-id")[:LIST_LIMIT])
    attach_counterparts(rows)
    return [
        PossibleDuplicateRow(
            id=row.pk,
            transaction=transaction_row(row),
            source=row.origin,  # type: ignore[attr-defined]  # attached
            other=transaction_row(row.counterpart) if row.counterpart else None,  # type: ignore[attr-defined]
            other_source=row.counterpart.origin if row.counterpart else "",  # type: ignore[attr-defined]
        )
        for row in rows
    ]


def count_possible_duplicates() -> tuple[int, int]:
    """Return how many purchases of how many customers wait; more than `COUNT_LIMIT` are not counted further."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [Transaction.HoldReason.DUPLICATE, COUNT_LIMIT + 1])
        waiting, customers = cursor.fetchone()
    return waiting, customers


def attach_counterparts(rows: Sequence[Transaction]) -> None:
    """Give each row `counterpart`, the other transaction or None, and both of them `origin`, where they come from."""
    others = Transaction.objects.with_ids(*[row.related_id for row in rows if row.related_id]).in_bulk()
    both: list[Transaction] = [*rows, *others.values()]
    accounts = BankAccount.objects.in_bulk([row.bank_account_id for row in both if row.bank_account_id])
    files = dict(
        StatementImport.objects.filter(pk__in=[row.statement_id for row in both if row.statement_id]).values_list(
            "pk", "filename"
        )
    )
    for row in both:
        account = accounts.get(row.bank_account_id or 0)
        file = files.get(row.statement_id or 0, "")
        parts = [str(account) if account else "", file]
        row.origin = ", ".join(filter(None, parts)) or {"api": "API"}.get(row.source, row.source)  # type: ignore[attr-defined]
    for row in rows:
        row.counterpart = others.get(row.related_id or 0)  # type: ignore[attr-defined]
