"""The same purchase from two sources: a bank's CSV and its OFX file, or a file and the API.

A probable duplicate is put on hold beside the row that it probably repeats, one to one. Nothing is booked for it and
nothing is dropped until a person decides. Only rows whose amount and day another source has leave PostgreSQL.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from django.db import connection
from django.db.backends.utils import CursorWrapper

from transactions.models import Transaction, User
from transactions.services.processing import reclassify_transactions
from transactions.sql import load_sql

REASON: Final = Transaction.HoldReason.DUPLICATE
# Groups of equal rows per amount and day whose merchants are compared word by word.
_COMPARED_GROUPS: Final = 50

Decision = Literal["keep", "same"]


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows that a batch has just stored, and earlier rows that are known to be other rows of the batch (`taken`)."""

    first_id: int
    last_id: int
    first_date: datetime
    last_date: datetime
    taken: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class _Pair:
    """Equal new rows and equal rows of another source, which may be the same purchases."""

    amount: Decimal
    day: date
    other_day: date
    ids: list[int]
    other_ids: list[int]
    is_same_merchant: bool


def hold_possible_duplicates(
    *,
    user: User,
    statement_id: int,
    same_layout: Sequence[int],
    rows: StoredRows,
    known: Mapping[int, int] | None = None,
) -> int:
    """Put those of the stored rows on hold that another source probably has; call it in the batch's transaction.

    Args:
        same_layout: imports of the same source: files with the same headings.
        known: rows and their counterparts that are found already.

    Returns how many.
    """
    with connection.cursor() as cursor:
        values: dict[str, Any] = {
            "user": user.pk,
            "statement": statement_id,
            "same_layout": list(same_layout),
            "first_id": rows.first_id,
            "last_id": rows.last_id,
            "first": rows.first_date,
            "last": rows.last_date,
            "taken": [*rows.taken, *(known or {}).values()],
            "reason": REASON,
            "limit": _COMPARED_GROUPS,
        }
        cursor.execute(load_sql("find_possible_duplicates"), values)
        counterparts = _match([_Pair(*row) for row in cursor.fetchall()]) | dict(known or {})
        return _hold(cursor, values, counterparts) if counterparts else 0


def _hold(cursor: CursorWrapper, values: Mapping[str, Any], counterparts: Mapping[int, int]) -> int:
    parameters = {**values, "ids": list(counterparts), "other_ids": list(counterparts.values())}
    cursor.execute(load_sql("hold_possible_duplicates"), parameters)
    return int(cursor.fetchone()[0])


def _match(pairs: Sequence[_Pair]) -> dict[int, int]:
    """Return new row → its counterpart, each counterpart once, as many as possible.

    Rows of the same day belong together, unless going through the days in order finds more: the second source may have
    posted everything a day later.
    """
    by_amount: defaultdict[Decimal, list[_Pair]] = defaultdict(list)
    for pair in pairs:
        by_amount[pair.amount].append(pair)
    matched: dict[int, int] = {}
    for group in by_amount.values():
        by_day = _match_in_order(group, lambda pair: (not pair.is_same_merchant, pair.day, pair.other_day))
        by_distance = _match_in_order(
            group,
            lambda pair: (not pair.is_same_merchant, abs((pair.day - pair.other_day).days), pair.day, pair.other_day),
        )
        matched |= by_distance if len(by_distance) >= len(by_day) else by_day
    return matched


def _match_in_order(pairs: Sequence[_Pair], order: Callable[[_Pair], Any]) -> dict[int, int]:
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for pair in sorted(pairs, key=order):
        free = (other for other in pair.other_ids if other not in taken)
        for new, other in zip((new for new in pair.ids if new not in matched), free, strict=False):
            matched[new] = other
            taken.add(other)
    return matched


def decide_possible_duplicates(
    *, transaction_ids: Sequence[int], decision: Decision, actor: User, customer: User | None = None
) -> int:
    """Process the rows as purchases of their own (“keep”), or exclude them as the same purchase as another (“same”).

    Staff may also take a decision back, as long as nothing was bought. Returns how many rows changed.

    Args:
        customer: decides only about rows on hold of this customer.
    """
    row_class = Transaction.RowClass.PURCHASE if decision == "keep" else Transaction.RowClass.DUPLICATE
    return reclassify_transactions(
        transaction_ids=transaction_ids, row_class=row_class, actor=actor, possible_duplicates_of=customer
    )
