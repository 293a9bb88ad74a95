"""Admin pages over tables of any size: keyset pages, nothing counted, nothing skipped through.

A changelist derived from `KeysetAdmin` asks PostgreSQL for one row more than it shows and takes its cursor from the
rows at the edge. Page 100,000 costs what page 1 costs, and rows added meanwhile shift nothing.

For each filter that a page offers there is an index whose order is the order of the page (tests/site/test_admin_lists.py
goes through all of them). Plans of these pages are chosen by the rows they touch, see `_by_rows_touched`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connections, transaction
from django.db.models import F, Model, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.views import ChangeList

AFTER, BEFORE = "after", "before"


class KeysetPaginator(Paginator):
    """Stands in where the changelist's template asks for a paginator; it never counts."""

    template_name = "kamioi/keyset_pages.html"

    @cached_property
    def count(self) -> int:
        """Nobody counts."""
        return 0


class KeysetChangeList(ChangeList):
    """A changelist whose pages are bounded by values, not by numbers."""

    next_url: str | None = None
    previous_url: str | None = None

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The filters of the query string, without our cursors."""
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in {AFTER, BEFORE}}

    def get_query_string(self, new_params: dict[str, Any] | None = None, remove: list[str] | None = None) -> str:
        """Links to another filter or search begin at its first page."""
        return super().get_query_string(new_params, [*(remove or []), AFTER, BEFORE])

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        """The key of the pages, and nothing else: an index serves it."""
        self.keyset = list(self.model_admin.get_keyset(request))
        return self.keyset

    def get_results(self, request: HttpRequest) -> None:
        """One page and one row more, from the cursor on."""
        size = self.list_per_page
        rows = self.queryset
        backward = BEFORE in request.GET
        cursor = request.GET.get(BEFORE if backward else AFTER)
        ordering = [_reverse(name) for name in self.keyset] if backward else self.keyset
        if cursor:
            rows = rows.filter(_beyond(self.model, ordering, cursor))
        with _by_rows_touched(rows.db):
            found = _first(rows, ordering, size + 1, self.model_admin.get_branches(request))
        more, page = len(found) > size, found[:size]
        if backward:
            page.reverse()
        if page and (more or backward):
            self.next_url = self._page_url(AFTER, page[-1])
        if page and (more if backward else bool(cursor)):
            self.previous_url = self._page_url(BEFORE, page[0])
        self.first_url = self.get_query_string() if cursor else None
        self.result_list = page
        # Alike, so that no template offers to show "all".
        self.result_count = self.full_result_count = len(page)
        self.show_full_result_count = False
        self.show_admin_actions = bool(page)
        self.can_show_all, self.multi_page = False, True
        self.paginator = KeysetPaginator(page, size)

    def _page_url(self, parameter: str, row: Model) -> str:
        values = [_text(getattr(row, name.lstrip("-"))) for name in self.keyset]
        return super().get_query_string({parameter: json.dumps(values)}, [AFTER, BEFORE])


class KeysetAdmin(ModelAdmin):
    """A model admin with keyset pages.

    `keyset` names columns that together are unique and that an index serves in this order, all in one direction or
    mixed; the default is the newest id first.
    """

    keyset: Sequence[str] = ("-id",)
    list_per_page = 50
    sortable_by: Any = ()
    show_full_result_count = False
    list_disable_select_all = True
    actions: Any = ()

    def get_keyset(self, request: HttpRequest) -> Sequence[str]:
        """The columns that order the pages of this request."""
        return self.keyset

    def get_branches(self, request: HttpRequest) -> Sequence[Q]:
        """Conditions of which each row fits exactly one, where an index serves the order only within each of them.

        The page is then made of the first rows of every one. None where the index serves the order as it is.
        """
        return ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The changelist without numbers."""
        return KeysetChangeList

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *args: Any, **kwargs: Any
    ) -> Paginator:
        """A paginator that never counts."""
        return KeysetPaginator([], per_page)


class HistoryAdmin(KeysetAdmin):
    """History: shown, never changed."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Rows come from the work itself."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What happened, happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """And it stays."""
        return False


class DayRangeFilter(RangeDateFilter):
    """Rows of some days (UTC, both included) of a column of times: as bounds that an index or a partition serves."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows between the two days; a day that is none bounds nothing."""
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


def _text(value: Any) -> str | int:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID) else value


@contextmanager
def _by_rows_touched(using: str) -> Iterator[None]:
    """Let PostgreSQL choose the plan that touches the fewest rows, and not weigh where on the disk they lie.

    A page is some fifty rows, from an index that leads to just these. By the costs of pages PostgreSQL may walk another
    index instead, through a month of rows that nearly all do not fit, because their blocks lie side by side: quick as long as
    what fits is spread evenly, and seconds long when it is not (the pending ones of a day three weeks ago).
    """
    connection = connections[using]
    with transaction.atomic(using=using, savepoint=False), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('seq_page_cost', '0', true), set_config('random_page_cost', '0', true)")
        yield


def _first(rows: QuerySet[Any], ordering: Sequence[str], limit: int, branches: Sequence[Q]) -> list[Any]:
    """The first rows in this order; with branches, of the first keys of every branch."""
    if not branches:
        return list(rows.order_by(*ordering)[:limit])
    names = [name.lstrip("-") for name in ordering]
    keys = [
        rows.filter(branch).select_related(None).order_by(*ordering).values_list(*names)[:limit] for branch in branches
    ]
    found = list(keys[0].union(*keys[1:], all=True).order_by(*ordering)[:limit])
    if not found:
        return []
    # The bounds of the first column keep it to the partitions in which these rows lie.
    low, high = sorted((found[0][0], found[-1][0]))
    place = names.index("id")
    return list(
        rows.filter(
            **{f"{names[0]}__gte": low, f"{names[0]}__lte": high}, pk__in=[key[place] for key in found]
        ).order_by(*ordering)
    )


def _beyond(model: type[Model], ordering: Sequence[str], cursor: str) -> Q:
    """Rows behind the cursor in this ordering.

    In one direction it is a comparison of rows, with which PostgreSQL starts in the index just there, however many rows share
    the first value. The plain bound on the first column lets it skip months, and in mixed directions start in the index.
    """
    try:
        values = json.loads(cursor)
        if not isinstance(values, list) or len(values) != len(ordering):
            raise ValueError("not a cursor of this list")
        names = [name.lstrip("-") for name in ordering]
        bounds = [
            model._meta.get_field(name).to_python(value)  # type: ignore[union-attr]  # the key is of columns
            for name, value in zip(names, values, strict=True)
        ]
        if any(bound is None for bound in bounds):
            raise ValueError("not a cursor of this list")
    except (ValueError, TypeError, ArithmeticError, ValidationError) as error:
        raise IncorrectLookupParameters(error) from error
    steps = ["lt" if name.startswith("-") else "gt" for name in ordering]
    bound = Q(**{f"{names[0]}__{steps[0]}e": bounds[0]})
    if len(names) > 1 and len(set(steps)) == 1:
        comparison = TupleLessThan if steps[0] == "lt" else TupleGreaterThan
        return bound & Q(comparison(Tuple(*map(F, names)), tuple(bounds)))
    condition = Q()
    for last in range(len(names)):
        equal = {names[i]: bounds[i] for i in range(last)}
        condition |= Q(**equal, **{f"{names[last]}__{steps[last]}": bounds[last]})
    return bound & condition


# --- Log-ins ----------------------------------------------------------------------------------------------------
for _theirs in (TOTPDevice, StaticDevice):
    if admin.site.is_registered(_theirs):  # in the style of Django's own admin, and with the keys for all to see
        admin.site.unregister(_theirs)


class _RemovableAdmin(KeysetAdmin):
    """Rows that the work itself makes: shown, and taken away by who may."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody makes one by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nor changes one."""
        return False


@admin.register(TOTPDevice)
class SecondFactorAdmin(_RemovableAdmin):
    """Who has a second factor. Removing one lets a person who lost phone and codes set up another."""

    list_display = ("user", "name", "confirmed", "created_at", "last_used_at", "throttling_failure_count")
    list_select_related = ("user",)
    fields = list_display
    search_fields = ("user__email",)
    search_help_text = "The whole e-mail"

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """By the e-mail."""
        term = search_term.strip()
        return (queryset.filter(user__email__iexact=term) if term else queryset), False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Administrators, for others than themselves: their own they turn off with a code."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and getattr(obj, "user_id", None) != request.user.pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """The device, and the recovery codes that came with it."""
        StaticDevice.objects.filter(user_id=obj.user_id).delete()
        super().delete_model(request, obj)


@admin.register(AccessAttempt)
class FailedLogInAdmin(_RemovableAdmin):
    """Wrong passwords by e-mail and address. Removing a row lets that pair try again at once."""

    list_display = ("username", "ip_address", "failures_since_start", "attempt_time", "path_info")
    fields = (*list_display, "user_agent")
    search_fields = ("username",)
    search_help_text = "The whole e-mail"

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """By the e-mail."""
        term = search_term.strip().lower()
        return (queryset.filter(username=term) if term else queryset), False
