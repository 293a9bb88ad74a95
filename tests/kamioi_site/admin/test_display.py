"""How the admin shows values, in lists and on the page of a row."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import make_staff, make_transaction, make_user
from transactions.models import LedgerTransfer

pytestmark = pytest.mark.django_db


def _texts(html: str) -> list[str]:
    """Return the texts of the table cells or of the read-only fields."""
    cells = re.findall(r"<t[hd][^>]*field-.*?</t[hd]>|<div class=\"readonly.*?</div>", html, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in cells]


@pytest.mark.parametrize("page", ["list", "row"])
def test_a_transaction_is_shown_alike_in_the_list_and_on_its_page(page):
    client = Client()
    client.force_login(make_staff())
    day = datetime(2026, 2, 3, tzinfo=UTC)
    row = make_transaction(make_user("maya@kamioi.test"), "STARBUCKS", "1234.50", date=day)
    address = (
        reverse("admin:transactions_transaction_changelist")
        if page == "list"
        else reverse("admin:transactions_transaction_change", args=[row.pk])
    )
    html = client.get(address).content.decode()
    assert {"$1,234.50", "Feb 3, 2026", "maya@kamioi.test"} <= set(_texts(html))
    assert "00:00" not in html


def test_numbers_are_aligned_to_the_right_with_their_heading():
    client = Client()
    client.force_login(make_staff())
    make_transaction(make_user())
    html = client.get(reverse("admin:transactions_transaction_changelist")).content.decode()
    numbers = set(re.findall(r"class=\"field-(\w+) num", html))
    assert {"amount", "round_up", "shares"} <= numbers
    assert numbers == set(re.findall(r"<th class=\"[^\"]*column-(\w+) num", html))


def test_a_ledger_transfer_names_its_customer():
    client = Client()
    client.force_login(make_staff())
    user = make_user("maya@kamioi.test")
    transfer = LedgerTransfer.objects.create(
        user_id=user.pk,
        date=datetime(2026, 2, 3, tzinfo=UTC),
        kind="round_up",
        debit_account="11100",
        credit_account="20100",
        amount=Decimal(1),
    )
    for address in (
        reverse("admin:transactions_ledgertransfer_changelist"),
        reverse("admin:transactions_ledgertransfer_change", args=[transfer.pk]),
    ):
        assert {"maya@kamioi.test", "round up", "$1.00"} <= set(_texts(client.get(address).content.decode()))
