"""Keyset pages and their cursors."""

from datetime import UTC, datetime

import pytest

from kamioi_site.pagination import keyset_page
from tests.factories import api_client, make_transaction, make_user
from transactions.models import Transaction

pytestmark = pytest.mark.django_db


def test_pages_contain_every_row_once_despite_equal_dates_and_new_rows() -> None:
    user = make_user()
    day = datetime(2026, 11, 3, tzinfo=UTC)
    made = [make_transaction(user, date=day if number < 5 else day.replace(day=4)).pk for number in range(8)]
    seen: list[int] = []
    cursor = None
    while True:
        page = keyset_page(
            Transaction.objects.filter(user=user), time_field="date", cursor=cursor, limit=3, scope="test"
        )
        seen += [row.pk for row in page.rows]
        make_transaction(user, date=day.replace(day=5))  # newer than all others, so on no later page
        if not page.has_more:
            break
        cursor = page.next_cursor
    assert seen == [*reversed(made[5:]), *reversed(made[:5])]


@pytest.mark.parametrize("cursor", ["garbage", "WzEsMl0:signature", "💥"])
def test_a_forged_cursor_is_refused(cursor: str) -> None:
    reply = api_client(make_user()).get("/api/user/transactions", {"cursor": cursor})
    assert reply.status_code == 400
    assert "cursor" in reply.json()["errors"]


def test_a_cursor_of_another_customer_is_refused() -> None:
    owner, other_customer = make_user(), make_user()
    for _ in range(2):
        make_transaction(owner)
    cursor = api_client(owner).get("/api/user/transactions", {"limit": 1}).json()["next_cursor"]
    assert api_client(owner).get("/api/user/transactions", {"cursor": cursor}).status_code == 200
    assert api_client(other_customer).get("/api/user/transactions", {"cursor": cursor}).status_code == 400


@pytest.mark.parametrize("limit", ["0", "-1", "501", "ten", "1e3"])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    reply = api_client(make_user()).get("/api/user/transactions", {"limit": limit})
    assert reply.status_code == 400
    assert "limit" in reply.json()["errors"]
