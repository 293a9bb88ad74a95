"""Reading more rows than fit in memory without a cursor on the server, which would not outlive PgBouncer's transaction."""

from collections.abc import Iterator
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

RowT = TypeVar("RowT")


def in_pages(rows: "QuerySet[Any, RowT]", *, by: str = "pk", size: int = 2_000) -> Iterator[RowT]:
    """Every row in the order of the unique column `by` (`-pk` for the other way round), a page at a time.

    Each page is a statement of its own: memory is flat, and a slow reader holds neither a transaction nor a connection's
    snapshot. Rows added or removed meanwhile may or may not be among them. With `values_list` the column has to be among the
    values, or the column is `pk` and the model's key is.
    """
    name = by.removeprefix("-")
    bound = f"{name}__{'lt' if by.startswith('-') else 'gt'}"
    page = list(rows.order_by(by)[:size])
    while page:
        yield from page
        if len(page) < size:
            return
        page = list(rows.filter(**{bound: _value(rows, page[-1], name)}).order_by(by)[:size])


def _value(rows: "QuerySet[Any, Any]", row: Any, name: str) -> Any:
    if isinstance(row, Model):
        return getattr(row, name)
    fields = [*rows.query.values_select]
    pk = rows.model._meta.pk
    return row[fields.index(pk.attname if name == "pk" and pk is not None else name)]
