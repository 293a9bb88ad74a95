"""Reads of customers during the migration: from Kamioi or from the legacy file."""

from decimal import Decimal

import pytest

from tests.factories import api_client
from tests.legacy_db import insert
from tests.transactions.legacy.conftest import writing
from transactions.legacy.cutover import set_read_percentage
from transactions.migration_phase import reads_from_kamioi
from transactions.models import User

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def test_reads_move_by_customer_and_stay(watched):
    users = [User(pk=n) for n in range(1, 2001)]
    set_read_percentage(percent=10)
    first = {user.pk for user in users if reads_from_kamioi(user)}
    assert 120 < len(first) < 280
    set_read_percentage(percent=50)
    second = {user.pk for user in users if reads_from_kamioi(user)}
    assert first < second
    set_read_percentage(percent=100)
    assert all(reads_from_kamioi(user) for user in users)


def test_customers_who_have_not_moved_read_the_legacy_file(watched):
    client = api_client(User.objects.get(pk=1))
    with writing(watched) as source:  # not synced yet
        insert(
            source,
            "transactions",
            user_id=1,
            date="2026-01-01 10:00:00",
            merchant="ONLY THERE",
            amount="$3.50",
            total_debit=3.5,
        )
        insert(source, "notifications", user_id=1, title="Only there", message="x")
        source.execute("UPDATE portfolios SET shares = 10 WHERE id = 1")

    def seen() -> tuple[str, str, Decimal]:
        rows = client.get("/api/user/transactions").json()["data"]["transactions"]
        messages = client.get("/api/user/notifications").json()["data"]
        owned = client.get("/api/user/portfolio").json()["data"]["holdings"]
        return rows[0]["merchant"], messages[0]["title"], Decimal(str(owned[0]["shares"]))

    set_read_percentage(percent=0)
    assert seen() == ("ONLY THERE", "Only there", Decimal("10.5"))
    set_read_percentage(percent=100)
    assert seen()[1:] == ("Hello", Decimal("2"))
    set_read_percentage(percent=0)
    watched.rename(watched.with_suffix(".away"))
    assert seen()[1:] == ("Hello", Decimal("2"))  # Kamioi's own copy answers
