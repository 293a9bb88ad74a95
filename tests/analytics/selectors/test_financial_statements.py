"""Trial balance, balance sheet, and profit and loss: selector, pages and API."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from analytics.models import LedgerDay
from analytics.selectors.finance import AccountMovement
from analytics.selectors.financial_statements import FinancialStatements, financial_statements
from analytics.selectors.periods import Period
from tests.factories import api_client, make_staff, make_user
from transactions.models import Account

JANUARY, FEBRUARY = Period(date(2026, 1, 1), date(2026, 1, 31)), Period(date(2026, 2, 1), date(2026, 2, 28))
# Day, kind, debit, credit, amount: a purchase, its collection, the house's order at a higher price, an amortization.
POSTINGS = (
    (date(2026, 1, 5), "round_up", "11100", "20100", "6.00"),
    (date(2026, 1, 5), "fee", "11100", "40100", "0.75"),
    (date(2026, 1, 5), "purchase", "20100", "22100", "6.00"),
    (date(2026, 1, 6), "collection", "10100", "11100", "6.75"),
    (date(2026, 1, 6), "broker_cash", "10200", "10100", "6.32"),
    (date(2026, 1, 6), "broker_buy", "12100", "10200", "6.32"),
    (date(2026, 1, 6), "broker_diff", "67040", "12100", "0.32"),
    (date(2026, 1, 7), "capitalize", "15200", "10100", "100.00"),
    (date(2026, 1, 7), "journal_entry", "10100", "30900", "500.00"),
    (date(2026, 2, 1), "amortization", "67010", "15100", "10.00"),
    (date(2026, 2, 2), "round_up", "11100", "20100", "1.00"),
    (date(2026, 2, 2), "fee", "11100", "40100", "0.25"),
    (date(2026, 2, 2), "purchase", "20100", "22100", "1.00"),
)


@pytest.fixture
def postings(db: None) -> None:
    for day, kind, debit, credit, amount in POSTINGS:
        LedgerDay.objects.create(
            day=day, kind=kind, debit_account=debit, credit_account=credit, rows=1, amount=Decimal(amount)
        )


@pytest.mark.usefixtures("postings")
class TestStatements:
    def test_the_balance_sheet_carries_the_balances_and_retained_earnings(self):
        statements = financial_statements(FEBRUARY)
        assert [(row.section, row.number, row.amount) for row in statements.balance_sheet] == [
            ("asset", "10100", Decimal("400.43")),
            ("asset", "11100", Decimal("1.25")),
            ("asset", "12100", Decimal("6.00")),
            ("asset", "15100", Decimal("-10.00")),
            ("asset", "15200", Decimal("100.00")),
            ("liability", "22100", Decimal("7.00")),
            ("equity", "30900", Decimal("500.00")),
            ("equity", "", Decimal("-9.32")),
        ]
        assert statements.assets == statements.liabilities + statements.equity == Decimal("497.68")
        assert statements.is_balanced

    def test_profit_and_loss_is_of_the_period_only(self):
        january, february = financial_statements(JANUARY), financial_statements(FEBRUARY)
        assert [(row.number, row.amount) for row in january.profit_and_loss] == [
            ("40100", Decimal("0.75")),
            ("67040", Decimal("0.32")),
        ]
        assert (january.profit, february.profit) == (Decimal("0.43"), Decimal("-9.75"))
        assert january.profit + february.profit == february.retained_earnings

    def test_the_trial_balance_continues_the_previous_period(self):
        rows = {row.number: row for row in financial_statements(FEBRUARY).trial_balance}
        receivable, fees = rows["11100"], rows["40100"]
        assert (receivable.opening, receivable.debit, receivable.closing_debit) == (0, Decimal("1.25"), Decimal("1.25"))
        assert (fees.opening, fees.closing_debit, fees.closing_credit) == (Decimal("-0.75"), 0, Decimal("1.00"))
        january = financial_statements(JANUARY).trial_balance
        closing = {row.number: row.closing_debit - row.closing_credit for row in january}
        assert {number: row.opening for number, row in rows.items() if row.opening} == {
            number: balance for number, balance in closing.items() if balance
        }

    def test_the_page_shows_that_the_books_balance(self):
        client = Client()
        client.force_login(make_staff())
        page = client.get("/admin/dashboards/financial-statements/?from=2026-01-01&to=2026-02-28").content.decode()
        for text in ("Trial balance", "Balance sheet", "Profit and loss", "Retained earnings", "$497.68", "balanced"):
            assert text in page
        assert "out of balance" not in page
        assert "account__exact=12100&amp;date_from=2026-01-01&amp;date_to=2026-02-28" in page

    def test_the_api_returns_the_three_statements(self):
        data = _api(make_staff(), start_date="2026-01-01", end_date="2026-02-28").json()["data"]
        assert (data["start_date"], data["end_date"], data["is_balanced"]) == ("2026-01-01", "2026-02-28", True)
        assert data["trial_balance"]["debit"] == data["trial_balance"]["credit"]
        assert data["balance_sheet"]["assets"] == 497.68
        assert data["balance_sheet"]["lines"][-1] == {
            "section": "equity", "number": "", "name": "Retained earnings", "amount": -9.32,
        }  # fmt: skip
        assert data["profit_and_loss"]["profit"] == -9.32


def test_only_finance_and_admins_read_the_statements(db):
    for role in ("finance", "admin", "reviewer", "operator"):
        user = make_user(f"{role}@kamioi.test", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client, code = Client(), 200 if role in {"finance", "admin"} else 403
        client.force_login(user)
        assert client.get("/admin/dashboards/financial-statements/").status_code == code, role
        assert _api(user).status_code == code, role
    assert _api(make_user()).status_code == 403


@pytest.mark.parametrize(
    "period", [{"start_date": "2026-02-01", "end_date": "2026-01-01"}, {"start_date": "1.2.2026"}, {"end_date": "x"}]
)
def test_the_api_refuses_an_invalid_period(db, period):
    assert _api(make_staff(), **period).status_code == 400


ENTRIES = st.lists(
    st.tuples(
        st.permutations([account.value for account in Account]),
        st.booleans(),
        st.decimals(min_value="0.01", max_value=10**9, places=2),
    ),
    max_size=40,
)


def test_a_debit_without_its_credit_is_out_of_balance():
    one_sided = [AccountMovement("99999", "not in the chart", "asset", Decimal(1), Decimal(0), Decimal(1))]
    assert not FinancialStatements(JANUARY, one_sided).is_balanced


@given(entries=ENTRIES)
def test_whatever_is_posted_the_statements_balance(entries):
    types = {"1": "asset", "2": "liability", "3": "equity", "4": "revenue", "6": "expense"}
    sides: dict[str, list[Decimal]] = {account.value: [Decimal(0)] * 3 for account in Account}
    for (debit, credit, *_), is_in_period, amount in entries:
        sides[debit][2] += amount
        sides[credit][2] -= amount
        if is_in_period:
            sides[debit][0] += amount
            sides[credit][1] += amount
    accounts = [
        AccountMovement(
            number, number, types[number[0]], debit, credit, balance if number[0] in "16" else -balance
        )
        for number, (debit, credit, balance) in sides.items()
    ]  # fmt: skip
    statements = FinancialStatements(JANUARY, accounts)
    assert statements.is_balanced
    assert statements.assets == statements.liabilities + statements.equity


def _api(user: Any, **period: str) -> Any:
    return api_client(user).get("/api/admin/financial-statements", period)
