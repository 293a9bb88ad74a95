"""Search of the mapping log: any part of merchant, ticker, company or category, by indexes and in bounded time."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from llm_center import selectors
from llm_center.models import LlmMapping
from llm_center.selectors import search_mappings
from llm_center.sql import load_sql
from tests.factories import api_client, make_company, make_merchant, make_staff
from transactions.models import Merchant

pytestmark = pytest.mark.django_db
URL = "/api/admin/llm-center/mappings"


def make_mapping(merchant: str, ticker: str | None = None, **fields: Any) -> LlmMapping:
    values = {"merchant_key": merchant, "source": "llm", "confidence": Decimal("0.8")} | fields
    return LlmMapping.objects.create(merchant_name=merchant, ticker=ticker, **values)


@pytest.fixture
def mappings() -> None:
    make_company("SBUX", name="Starbucks Corporation")
    make_mapping("STARBUKS COFFEE 0123", "SBUX", company_name="Starbucks Corporation", category="Food & Dining")
    make_mapping("UBER EATS", "UBER", company_name="Uber Technologies", category="Travel", status="approved")
    make_mapping("100% PURE_COTTON", category="Shopping")


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("uber", ["UBER EATS"]),
        ("eats", ["UBER EATS"]),
        ("sbux", ["STARBUKS COFFEE 0123"]),
        ("Starbucks Corp", ["STARBUKS COFFEE 0123"]),
        ("dining", ["STARBUKS COFFEE 0123"]),
        ("0%", ["100% PURE_COTTON"]),
        ("e_c", ["100% PURE_COTTON"]),
        ("u", ["100% PURE_COTTON", "UBER EATS", "STARBUKS COFFEE 0123"]),
        ("nowhere", []),
        ("\\", []),
    ],
)
def test_part_of_a_field_is_found_in_any_case(mappings: None, search: str, found: list[str]) -> None:
    body = api_client(make_staff()).get(URL, {"search": search, "limit": 10, "page": 1}).json()["data"]
    assert [row["merchant_name"] for row in body["mappings"]] == found
    assert body["pagination"]["total_count"] == len(found)


def test_a_search_is_limited_to_the_status_of_the_list(mappings: None) -> None:
    client = api_client(make_staff())
    assert client.get(URL, {"search": "u", "status": "approved", "page": 1}).json()["data"]["pagination"]["total"] == 1


def test_pages_contain_each_row_once_at_equal_cost(mappings: None) -> None:
    for number in range(5):
        make_mapping(f"SHOP {number}")
    client, seen, cursor, costs = api_client(make_staff()), [], "", set()
    while cursor is not None:
        with CaptureQueriesContext(connection) as queries:
            page = client.get(URL, {"search": "shop", "limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        costs.add(len(queries))
        seen += [row["merchant_name"] for row in page["data"]]
        cursor = page["next_cursor"]
    assert seen == ["SHOP 4", "SHOP 3", "SHOP 2", "SHOP 1", "SHOP 0", "100% PURE_COTTON"]  # category Shopping
    assert len(costs) == 1
    second = client.get(URL, {"search": "shop", "limit": 4, "page": 2}).json()["data"]
    assert [row["merchant_name"] for row in second["mappings"]] == ["SHOP 0", "100% PURE_COTTON"]


@pytest.mark.parametrize("search", ["corner cafe", "co", "SBUX", "starbucks"])
def test_rows_of_a_merchant_are_found_however_old(search: str) -> None:
    make_company("SBUX", name="Starbucks Corporation")
    make_merchant("CORNER CAFE", "SBUX", company_name="Starbucks Corporation")
    old = make_mapping("CORNER CAFE", created_at=timezone.now() - timedelta(days=400))
    for number in range(3):
        make_mapping(f"NEWER {number}")
    with patch.object(selectors, "NUMBERED_ROWS_MAX", 2):  # the newest rows that are read for their text
        assert [row.pk for row in search_mappings(search, limit=5).rows] == [old.pk]


def _plan(name: str, **parameters: Any) -> str:
    sql = load_sql(name).format(status="true", after="true") if name == "search_mappings" else load_sql(name)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the log is empty
        cursor.execute(f"EXPLAIN {sql}", parameters)
        return "\n".join(row[0] for row in cursor.fetchall())


@pytest.mark.as_owner
def test_each_step_uses_its_index() -> None:
    # Enough merchants, and statistics of them: those that earlier tests left lead to other plans.
    Merchant.objects.bulk_create(
        Merchant(merchant_key=f"SHOP {number}", display_name=f"Shop {number}", ticker=f"T{number}")
        for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE merchants")
    plan = _plan("prefix_merchants", key="CORNER", beyond="CORNES", tickers=["SBUX"], limit=200)
    assert "_like" in plan
    assert "idx_merchants_ticker" in plan
    plan = _plan("search_mappings", keys=["CORNER"], pattern="%corner%", window=10_000, limit=11, offset=0)
    assert "Index Cond: ((merchant_key)::text = ANY" in plan
    assert "created_at_idx" in plan
    assert "Seq Scan" not in plan
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('idx_merchants_search')")
        if cursor.fetchone()[0] is None:
            return  # a server without the extension
    assert "idx_merchants_search" in _plan("search_merchants", pattern="%corner%", limit=200)
