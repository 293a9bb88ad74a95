"""Keyset pagination: a page starts after the key of the last row of the previous page, never at an offset.

The cost of a page does not depend on how far it is from the first one, and rows added in the meantime shift nothing.
A cursor is signed and belongs to one list; a cursor of another list or user is refused with 400.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from django.core import signing
from django.db import connections
from django.db.models import F, Field, Model, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.exceptions import ValidationError

RowT = TypeVar("RowT", bound=Model)

# Lists with numbered pages end at this row, and their totals are counted up to it.
NUMBERED_ROWS_MAX: Final = 10_000
# A page with a residual filter reads at most this many rows.
SCAN_ROWS: Final = 20_000


class Keyset:
    """An ordering by columns without nulls, the last of them unique; `-` marks a descending column."""

    def __init__(self, *order: str) -> None:
        self.order = order
        self.names = [name.removeprefix("-") for name in order]
        self._steps = ["lt" if name.startswith("-") else "gt" for name in order]

    def after(self, values: Sequence[Any]) -> Q:
        """Return the condition for the rows after the row with these values.

        In one direction it is a row comparison, which lets PostgreSQL start in the index exactly there, however many
        rows share the first value. The plain bound on the first column lets it skip partitions.
        """
        bound = Q(**{f"{self.names[0]}__{self._steps[0]}e": values[0]})
        if len(self.names) > 1 and len(set(self._steps)) == 1:
            comparison = TupleLessThan if self._steps[0] == "lt" else TupleGreaterThan
            return bound & Q(comparison(Tuple(*map(F, self.names)), tuple(values)))
        ties = Q()
        for last, name in enumerate(self.names):
            equal = dict(zip(self.names[:last], values, strict=False))
            ties |= Q(**equal, **{f"{name}__{self._steps[last]}": values[last]})
        return bound & ties

    def after_sql(self, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """Return the same condition as SQL with its parameters, for an ordering in one direction."""
        operator = "<" if self._steps[0] == "lt" else ">"
        places = ", ".join(["%s"] * len(values))
        condition = f"{self.names[0]} {operator}= %s AND ({', '.join(self.names)}) {operator} ({places})"
        return condition, [values[0], *values]


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """Rows of one page and the cursor of the next page, None on the last."""

    rows: list[RowT]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.next_cursor is not None


@dataclass(frozen=True, slots=True)
class ResidualFilter:
    """A condition that no index serves: SQL over the columns of the list's table, with its parameters."""

    condition: str
    parameters: tuple[Any, ...]


def keyset_page(
    rows: QuerySet[RowT, RowT],
    *,
    time_field: str,
    cursor: str | None,
    limit: int,
    scope: str,
    residual: ResidualFilter | None = None,
) -> Page[RowT]:
    """Return the page of `rows` after `cursor`, newest first by (`time_field`, primary key).

    `scope` names the list and its owner. With a `residual` filter a page reads at most `SCAN_ROWS` rows, so it may be
    short or empty although more rows follow.
    """
    keyset = Keyset(f"-{time_field}", "-pk")
    if cursor:
        time, pk = decode_cursor(cursor, scope)
        rows = rows.filter(keyset.after([datetime.fromisoformat(time), pk]))
    ordered = rows.order_by(*keyset.order)
    scanned = (
        list(ordered[: limit + 1]) if residual is None else _filtered_scan(ordered, residual, time_field, limit + 1)
    )
    page = scanned[:limit]
    last = (getattr(page[-1], time_field), page[-1].pk) if len(scanned) > limit else None
    if last is None and residual is not None:
        last = _scan_end(ordered, time_field)
    return Page(page, encode_cursor(last, scope) if last else None)


def _filtered_scan(rows: QuerySet[RowT, RowT], residual: ResidualFilter, time_field: str, limit: int) -> list[RowT]:
    """Return the first matching rows among the first `SCAN_ROWS`; the inner LIMIT rules out any other plan."""
    inner, parameters = rows[:SCAN_ROWS].query.sql_with_params()
    time, pk = _columns(rows, time_field)
    sql = (
        f"SELECT * FROM ({inner}) AS scanned WHERE {residual.condition} "  # noqa: S608  # names and conditions are ours
        f"ORDER BY {time} DESC, {pk} DESC LIMIT {limit:d}"
    )
    return list(rows.model._default_manager.using(rows.db).raw(sql, [*parameters, *residual.parameters]))


def _columns(rows: QuerySet[RowT, RowT], time_field: str) -> tuple[str, str]:
    field = rows.model._meta.get_field(time_field)
    assert isinstance(field, Field)  # noqa: S101  # never a relation
    return str(field.column), str(rows.model._meta.pk.column)


def _scan_end(rows: QuerySet[RowT, RowT], time_field: str) -> tuple[datetime, int] | None:
    """Return the key of the last row that a filtered scan read; None when it reached the end of the list."""
    inner, parameters = rows.values(time_field, rows.model._meta.pk.name)[:SCAN_ROWS].query.sql_with_params()
    time, pk = _columns(rows, time_field)
    with connections[rows.db].cursor() as cursor:
        cursor.execute(
            f"SELECT {time}, {pk}, count(*) OVER () FROM ({inner}) AS scanned ORDER BY {time}, {pk} LIMIT 1",  # noqa: S608
            parameters,
        )
        row = cursor.fetchone()
    return (row[0], row[1]) if row and row[2] == SCAN_ROWS else None


def numbered_rows(rows: QuerySet[RowT, RowT], *, page: int, limit: int) -> tuple[list[RowT], int]:
    """Return a page of ordered rows, and how many there are, up to `NUMBERED_ROWS_MAX`."""
    return list(rows[(page - 1) * limit : page * limit]), rows.values("pk")[:NUMBERED_ROWS_MAX].count()


def encode_cursor(key: Sequence[Any], scope: str) -> str:
    """Return the cursor of the rows after this key in the list of this scope; dates and times become ISO 8601."""
    values = [value.isoformat() if hasattr(value, "isoformat") else value for value in key]
    return signing.Signer(salt=f"cursor:{scope}").sign_object(values)


def decode_cursor(cursor: str, scope: str) -> list[Any]:
    """Return the key in a cursor, dates and times as text.

    Raises:
        ValidationError: the cursor belongs to another list or was made up.
    """
    try:
        values: list[Any] = signing.Signer(salt=f"cursor:{scope}").unsign_object(cursor)
    except (signing.BadSignature, ValueError) as error:
        raise ValidationError({"cursor": ["This cursor does not belong to this list."]}) from error
    return values
