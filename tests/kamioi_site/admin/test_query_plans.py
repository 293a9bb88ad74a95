"""The query plans of every list with every filter it offers, on a month of rows.

No plan may touch more than a small part of the month. The rows are distributed as in production: pending rows came
last, some statuses are rare, and many purchases share a timestamp, because statements have days only.
"""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from django.contrib import admin
from django.core.exceptions import SuspiciousOperation
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from kamioi_site.admin.keyset import DayRangeFilter, KeysetAdmin
from kamioi_site.db.partitions import month_start
from llm_center.models import LlmMapping, MappingDecision, ReviewMerchant
from tests.database import owner_cursor
from tests.factories import make_staff, make_user
from transactions.models import (
    AuditEvent,
    BackgroundTask,
    LedgerTransfer,
    Merchant,
    Order,
    StockPrice,
    Transaction,
    User,
)

pytestmark = [pytest.mark.django_db, pytest.mark.as_owner]  # it analyzes its tables

ROWS = 20_000
# Rows that all scans of one query may touch: fifty for each of eight statuses, and those of one day or one customer.
ROW_LIMIT = 1_500

_FILL = Path(__file__).with_name("fill_month.sql").read_text()
# Searches, and filters that other pages link to although the list does not offer them.
_LINKED: dict[Any, list[dict[str, str]]] = {
    Transaction: [
        {"q": "person5@example.com"},
        {"q": "M9"},
        {"q": "1"},
        {"user__id__exact": "1000005"},
        {"ticker__exact": "T5"},
        {"merchant_key__exact": "M9"},
    ],
    LedgerTransfer: [
        {"kind__exact": "fee"},
        {"kind__exact": "broker_cash"},
        {"user_id__exact": "0"},
        {"user_id__exact": "1000005"},
    ],
    LlmMapping: [{"q": "SHOP 5"}, {"q": "RARE"}],
    User: [{"q": "person5@example.com"}],
    Merchant: [{"q": "M199"}],
    ReviewMerchant: [{"q": "M1"}],
    StockPrice: [{"q": "T5"}],
    MappingDecision: [{"q": "M5"}],
}
_FILLED = {*_LINKED, AuditEvent, BackgroundTask, Order}


@pytest.fixture(scope="module", autouse=True)
def _vacuum_tables(django_db_setup: None) -> Iterator[None]:
    """Vacuum afterwards: a rollback leaves dead rows and their statistics, which would slow down later tests."""
    yield
    tables = sorted(set(re.findall(r"INSERT INTO (\w+)", _FILL)))
    with owner_cursor() as cursor:
        cursor.execute(f"VACUUM (ANALYZE) {', '.join(tables)}")


@pytest.fixture
def staff() -> User:
    """Fill a month of every table and return an administrator."""
    with connection.cursor() as cursor:
        cursor.execute(_FILL, {"rows": ROWS})
        cursor.execute("ANALYZE")
    return make_staff()


def _changelist(page: KeysetAdmin, staff: User, query: str) -> tuple[Any, list[str]]:
    """Return the changelist of a query string and the SQL it ran."""
    request = RequestFactory().get(f"/{query}")
    request.user = staff
    with CaptureQueriesContext(connection) as captured:
        changelist: Any = page.get_changelist_instance(request)
        assert not changelist.get_queryset(request).query.low_mark
    return changelist, [one["sql"] for one in captured.captured_queries]


def _filters(page: KeysetAdmin, staff: User) -> list[dict[str, str]]:
    """Return every choice of every filter that the page offers, and its searches and links."""
    changelist, _ = _changelist(page, staff, "")
    filters = list(_LINKED.get(page.model, []))
    for spec in changelist.filter_specs:
        if isinstance(spec, DayRangeFilter):
            month = f"{timezone.now():%Y-%m}"
            for first, last in (("05", "05"), ("01", "28")):
                filters.append(
                    {f"{spec.parameter_name}_from": f"{month}-{first}", f"{spec.parameter_name}_to": f"{month}-{last}"}
                )
        else:
            filters += [dict(parse_qsl(choice["query_string"].lstrip("?"))) for choice in spec.choices(changelist)]
    return [query for query in filters if query]


def _plan_rows(plan: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the rows that each scan read and each sort took."""
    node, loops = plan["Node Type"], plan["Actual Loops"]
    children = plan.get("Plans", [])
    if "Scan" in node and "Bitmap Index" not in node and "Subquery" not in node:
        rows = (
            plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        )
        yield f"{node} on {plan.get('Relation Name')}", rows * loops
    if node == "Sort":
        yield "Sort", sum(child["Actual Rows"] * child["Actual Loops"] for child in children)
    for child in children:
        yield from _plan_rows(child)


def _rows_touched(sql: str) -> tuple[float, list[tuple[str, float]]]:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) " + sql.replace("%", "%%"), [])
        result = cursor.fetchone()[0]
    plan = (json.loads(result) if isinstance(result, str) else result)[0]["Plan"]
    touched = list(_plan_rows(plan))
    return max((rows for _, rows in touched), default=0), sorted(touched, key=lambda scan: -scan[1])[:3]


def _check(model: Any, queries: list[str]) -> int:
    """Check that no query counts, skips or touches many rows, and return the number of plans checked."""
    checked = 0
    for sql in queries:
        assert " OFFSET " not in sql
        if f'FROM "{model._meta.db_table}"' in sql and sql.startswith(("SELECT", "(SELECT")):
            assert not re.search(r"(COUNT|SUM)\(", sql), sql
            rows, largest = _rows_touched(sql)
            assert rows <= ROW_LIMIT, (largest, sql)
            checked += 1
    return checked


def test_no_page_of_a_list_touches_more_than_a_small_part_of_its_month(staff, subtests):
    checked = 0
    for model, page in admin.site._registry.items():
        if not isinstance(page, KeysetAdmin):
            continue
        single = _filters(page, staff)
        pairs = [a | b for a, b in combinations(single, 2) if not a.keys() & b.keys()] if model in _FILLED else []
        for query in [{}, *single, *pairs]:
            with subtests.test(model._meta.label, query=query):
                changelist, queries = _changelist(page, staff, f"?{urlencode(query)}")
                checked += _check(model, queries)
                if changelist.next_url:
                    checked += _check(model, _changelist(page, staff, changelist.next_url)[1])
    assert checked > 150


def test_a_filter_by_days_shows_each_row_once_forwards_and_backwards():
    page, staff = admin.site._registry[Transaction], make_staff()
    assert isinstance(page, KeysetAdmin)
    user, month = make_user(), month_start(timezone.now())
    moments = [month + timedelta(days=3 + n % 3, hours=n % 2) for n in range(230)]  # many share a timestamp
    for n, moment in enumerate(moments):
        status = Transaction.Status.values[n % 8]
        bought = {"ticker": "T1", "shares": 1, "price_per_share": 1} if status == "completed" else {}
        Transaction.objects.create(
            user=user,
            date=moment,
            merchant="X",
            merchant_key="X",
            amount=1,
            total_debit=1,
            status=status,
            failure_reason="x",
            **bought,
        )
    days = f"?date_from={month:%Y-%m}-05&date_to={month:%Y-%m}-06"
    rows = Transaction.objects.filter(date__gte=month + timedelta(days=4)).order_by("-date", "-id")
    expected = list(rows.values_list("pk", flat=True))
    seen, query = [], days
    while query:
        changelist, queries = _changelist(page, staff, query)
        seen.append([row.pk for row in changelist.result_list])
        query = changelist.next_url
    assert [pk for part in seen for pk in part] == expected
    assert sum("UNION ALL" in sql for sql in queries) == 1
    back = [seen[-1]]
    while changelist.previous_url:
        changelist, _ = _changelist(page, staff, changelist.previous_url)
        back.append([row.pk for row in changelist.result_list])
    assert back == seen[::-1]


def test_the_list_of_tasks_has_a_second_page():
    for _ in range(60):
        BackgroundTask.objects.create(name="ingest_statement")
    page, staff = admin.site._registry[BackgroundTask], make_staff()
    assert isinstance(page, KeysetAdmin)
    first, _ = _changelist(page, staff, "")
    second, _ = _changelist(page, staff, first.next_url)
    assert len({row.pk for row in [*first.result_list, *second.result_list]}) == 60


def test_the_transfers_of_a_transaction_are_filtered_with_its_user():
    page, staff = admin.site._registry[LedgerTransfer], make_staff()
    assert isinstance(page, KeysetAdmin)
    with pytest.raises(SuspiciousOperation):
        _changelist(page, staff, "?transaction_id__exact=1")
    changelist, _ = _changelist(page, staff, "?transaction_id__exact=1&user_id__exact=1")
    assert not changelist.result_list
