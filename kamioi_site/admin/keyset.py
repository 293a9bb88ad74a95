"""Keyset pagination for changelists over tables of any size.

A changelist of a `KeysetAdmin` fetches one row more than it shows and takes its cursors from the first and the last
row. Page 100,000 costs as much as page 1, rows are never counted, and rows added meanwhile do not shift the pages.

Every filter that a list offers has an index in the order of the list; tests/kamioi_site/admin/test_query_plans.py
explains all of them. The planner chooses plans for these pages by the rows they touch, see `_prefer_few_rows`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connections, transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.views import ChangeList

from kamioi_site.admin.display import FormattedListMixin
from kamioi_site.pagination import Keyset

AFTER, BEFORE = "after", "before"


class KeysetPaginator(Paginator):
    """A paginator that never counts; the changelist template requires one."""

    template_name = "kamioi/keyset_pages.html"

    @cached_property
    def count(self) -> int:
        return 0


class KeysetChangeList(ChangeList):
    """A changelist whose pages start after a row, not at an offset."""

    next_url: str | None = None
    previous_url: str | None = None

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        filters = super().get_filters_params(params)
        return {name: value for name, value in filters.items() if name not in {AFTER, BEFORE}}

    def get_query_string(self, new_params: dict[str, Any] | None = None, remove: list[str] | None = None) -> str:
        # Links to another filter or search start at its first page.
        return super().get_query_string(new_params, [*(remove or []), AFTER, BEFORE])

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        # Only the key of the pages: an index serves it.
        self.keyset = list(self.model_admin.get_keyset(request))
        return self.keyset

    def get_results(self, request: HttpRequest) -> None:
        """Fetch one page, and one row more to learn whether another page follows."""
        size = self.list_per_page
        rows = self.queryset
        backward = BEFORE in request.GET
        cursor = request.GET.get(BEFORE if backward else AFTER)
        ordering = [_reverse(name) for name in self.keyset] if backward else self.keyset
        if cursor:
            rows = rows.filter(_after_cursor(self.model, ordering, cursor))
        with _prefer_few_rows(rows.db):
            fetched = _first_rows(rows, ordering, size + 1, self.model_admin.get_branches(request))
        more, page = len(fetched) > size, fetched[:size]
        if backward:
            page.reverse()
        if page and (more or backward):
            self.next_url = self._page_url(AFTER, page[-1])
        if page and (more if backward else bool(cursor)):
            self.previous_url = self._page_url(BEFORE, page[0])
        self.first_url = self.get_query_string() if cursor else None
        self.model_admin.prepare_page(page)
        self.result_list = page
        # Equal, so that no template offers to show "all".
        self.result_count = self.full_result_count = len(page)
        self.show_full_result_count = False
        self.show_admin_actions = bool(page)
        self.can_show_all, self.multi_page = False, True
        self.paginator = KeysetPaginator(page, size)

    def _page_url(self, parameter: str, row: Model) -> str:
        values = [_to_json(getattr(row, name.lstrip("-"))) for name in self.keyset]
        return super().get_query_string({parameter: json.dumps(values)}, [AFTER, BEFORE])


class KeysetAdmin(FormattedListMixin, ModelAdmin):
    """A model admin with keyset pages.

    `keyset` names columns that are unique together and that an index serves in this order; directions may be mixed.
    The default is the newest id first. `search_lookup` names the one lookup of the search box, which an index serves;
    `search_case` is "upper" or "lower" where the column is stored so.
    """

    keyset: Sequence[str] = ("-id",)
    search_lookup: str = ""
    search_case: str = ""
    list_per_page = 50
    sortable_by: Any = ()
    show_full_result_count = False
    list_disable_select_all = True
    actions: Any = ()

    def get_keyset(self, request: HttpRequest) -> Sequence[str]:
        """Return the columns that order the pages of this request."""
        return self.keyset

    def get_branches(self, request: HttpRequest) -> Sequence[Q]:
        """Return conditions of which each row meets exactly one, if an index serves the order only within each.

        The page then consists of the first rows of all of them. Empty if the index serves the order as it is.
        """
        return ()

    def prepare_page(self, rows: list[Any]) -> None:
        """Attach to the rows of a page what its columns need, in one query for all rows."""

    def get_search_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...]:
        return (self.search_lookup,) if self.search_lookup else super().get_search_fields(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not self.search_lookup:
            return super().get_search_results(request, queryset, search_term)
        if term:
            term = {"upper": term.upper(), "lower": term.lower()}.get(self.search_case, term)
            queryset = queryset.filter(**{self.search_lookup: term})
        return queryset, False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *args: Any, **kwargs: Any
    ) -> Paginator:
        return KeysetPaginator([], per_page)


class DayRangeFilter(RangeDateFilter):
    """Filters a timestamp by days (UTC, both inclusive), as bounds that an index or a partition serves."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # An invalid day is no bound.
        first, last = (self._day(f"{self.parameter_name}_{side}") for side in ("from", "to"))
        if first:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": datetime.combine(first, time(), UTC)})
        if last:
            queryset = queryset.filter(
                **{f"{self.parameter_name}__lt": datetime.combine(last + timedelta(days=1), time(), UTC)}
            )
        return queryset

    def _day(self, parameter: str) -> date | None:
        try:
            return date.fromisoformat(str(self.used_parameters.get(parameter, "")))
        except ValueError:
            return None


def _reverse(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def active_filters(request: HttpRequest) -> set[str]:
    """Return the query parameters with a value: filters, and `q` for the search."""
    return {name for name, value in request.GET.items() if str(value).strip()}


def _to_json(value: Any) -> str | int:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID) else value


@contextmanager
def _prefer_few_rows(using: str) -> Iterator[None]:
    """Make PostgreSQL choose the plan that touches the fewest rows, whatever the cost of reading their pages.

    A list page is about fifty rows, and an index leads to exactly these. With the usual page costs PostgreSQL may scan
    another index instead, through a month of rows that the filter rejects, because their pages are adjacent. That is
    fast while the matching rows are spread evenly and takes seconds when they are not.
    """
    connection = connections[using]
    with transaction.atomic(using=using, savepoint=False), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('seq_page_cost', '0', true), set_config('random_page_cost', '0', true)")
        yield


def _first_rows(rows: QuerySet[Any], ordering: Sequence[str], limit: int, branches: Sequence[Q]) -> list[Any]:
    """Return the first rows in this order; with branches, from the first keys of every branch."""
    if not branches:
        return list(rows.order_by(*ordering)[:limit])
    names = [name.lstrip("-") for name in ordering]
    keys = [
        rows.filter(branch).select_related(None).order_by(*ordering).values_list(*names)[:limit] for branch in branches
    ]
    first_keys = list(keys[0].union(*keys[1:], all=True).order_by(*ordering)[:limit])
    if not first_keys:
        return []
    # The bounds on the first column limit the query to the partitions of these rows.
    low, high = sorted((first_keys[0][0], first_keys[-1][0]))
    id_column = names.index("id")
    return list(
        rows.filter(
            **{f"{names[0]}__gte": low, f"{names[0]}__lte": high}, pk__in=[key[id_column] for key in first_keys]
        ).order_by(*ordering)
    )


def _after_cursor(model: type[Model], ordering: Sequence[str], cursor: str) -> Q:
    """Return the condition for rows after the cursor in this ordering."""
    keyset = Keyset(*ordering)
    try:
        values = json.loads(cursor)
        if not isinstance(values, list) or len(values) != len(ordering):
            raise ValueError("invalid cursor")
        bounds = [
            model._meta.get_field(name).to_python(value)  # type: ignore[union-attr]  # the key is of columns
            for name, value in zip(keyset.names, values, strict=True)
        ]
        if any(bound is None for bound in bounds):
            raise ValueError("invalid cursor")
    except (ValueError, TypeError, ArithmeticError, ValidationError) as error:
        raise IncorrectLookupParameters(error) from error
    return keyset.after(bounds)
