"""The old admin's figures are those of the ledger, the rollups and the holdings."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db.models import Sum
from pytest_django import Settings

from analytics.selectors import customers, holdings
from analytics.selectors.periods import utc_today
from analytics.services.ledger_days import update_ledger_days
from analytics.services.rollups import refresh_rollups
from llm_center.models import LlmMapping
from tests.analytics.rows import NOW, settle_ledger
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import Holding, Transaction, User
from transactions.services.processing import process_pending
from transactions.services.settlement import settle_positions

pytestmark = pytest.mark.django_db
JOURNAL, POSTINGS = "/api/admin/journal-entries", "/api/admin/financial/transactions"


@pytest.fixture
def ann(settings: Settings) -> User:
    """Create a family with two investments, one purchase that waits, and a mapping; a business without purchases."""
    settings.MARKET_ALWAYS_OPEN = True
    make_company("SBUX")
    make_merchant("STARBUCKS", "SBUX")
    ann = make_user("ann@example.com", account_type="family", round_up_amount=2, address="1 Main St")
    for _ in range(2):
        make_transaction(ann)
    process_pending()
    make_transaction(ann, "CAFE", status="needs_review")
    LlmMapping.objects.create(merchant_name="CAFE", merchant_key="CAFE", user=ann, source="user")
    make_user(account_type="business", is_active=False)
    return ann


def count_ledger() -> None:
    update_ledger_days(settle=NOW)  # sets the mark
    settle_ledger()
    update_ledger_days(settle=NOW)


def get(path: str, staff: User, **query: Any) -> Any:
    reply = api_client(staff).get(f"/api/admin/{path}", query)
    assert reply.status_code == 200, reply.content
    return reply.json()


def post_entry(staff: User, **fields: Any) -> None:
    assert api_client(staff).post(JOURNAL, fields, format="json").status_code == 201


def balances_on_the_page(staff: User) -> dict[str, Decimal]:
    """Add up the rows as the page does: entries beside the postings are known by their reference."""
    rows = get("financial/transactions", staff)["data"]
    for entry in get("journal-entries", staff)["data"]:
        if entry["reference"] not in {row["reference"] for row in rows}:
            rows += [
                {
                    "to_account": line["account_code"] if line["debit"] else None,
                    "from_account": None if line["debit"] else line["account_code"],
                    "debit": line["debit"],
                    "credit": line["credit"],
                }
                for line in entry["lines"]
            ]
    balances = dict[str, Decimal]()
    for row in rows:
        for account, side, sign in ((row["to_account"], "debit", 1), (row["from_account"], "credit", -1)):
            amount = Decimal(str(row[side] if side in row else row["amount"]))
            if account and amount:
                balances[account] = balances.get(account, Decimal(0)) + sign * amount
    return {number: balance for number, balance in balances.items() if balance}


def trial_balance(staff: User) -> dict[str, Decimal]:
    rows = get("financial-statements", staff)["data"]["trial_balance"]["accounts"]
    closing = {row["number"]: Decimal(str(row["closing_debit"])) - Decimal(str(row["closing_credit"])) for row in rows}
    return {number: balance for number, balance in closing.items() if balance}


@pytest.mark.usefixtures("ann")
def test_every_balance_on_the_finance_pages_is_that_of_the_trial_balance():
    staff = make_staff()
    last_month = utc_today().replace(day=1) - timedelta(days=3)
    post_entry(staff, from_account="30900", to_account="10100", amount=900, reference="CAPITAL", date=f"{last_month}")
    post_entry(staff, from_account="10100", to_account="67010", amount=120.5)
    count_ledger()
    post_entry(staff, from_account="10100", to_account="67010", amount=7, status="draft", reference="DRAFT")
    expected = trial_balance(staff)
    assert {"10100", "11100", "22100", "30900", "40100", "67010"} <= expected.keys()
    assert balances_on_the_page(staff) == expected

    accounts = {row["account_number"]: row for row in get("financial/accounts", staff)["data"]}
    assert {
        number: Decimal(str(row["balance"])) * (-1 if row["normal_balance"] == "Credit" else 1)
        for number, row in accounts.items()
        if row["balance"]
    } == expected
    # The page adds its net income to this account.
    assert (accounts["32000"]["name"], accounts["32000"]["balance"]) == ("Retained earnings", 0)
    for row in accounts.values():
        assert row["category"] in {"Assets", "Liabilities", "Equity", "Revenue", "Expense"}
    revenue = get("financial/accounts", staff, category="Revenue")["data"]
    assert {row["account_number"] for row in revenue} == {"40100", "40200"}
    categories = {row["name"]: row["count"] for row in get("financial/accounts/categories", staff)["data"]}
    assert sum(categories.values()) == len(accounts)

    assert accounts["40100"]["balance"] == 0.5
    assert get("financial-analytics", staff)["data"]["gl_accounts"] == list(accounts.values())


def test_a_sum_of_postings_is_neither_changed_nor_deleted():
    client = api_client(make_staff())
    for reply in (client.put(f"{JOURNAL}/SUM", {"description": "x"}, format="json"), client.delete(f"{JOURNAL}/SUM")):
        assert (reply.status_code, reply.json()["success"]) == (409, False)
        assert "sum of many postings" in reply.json()["error"]


def test_the_overview_shows_the_totals_of_the_books(ann: User):
    count_ledger()
    refresh_rollups()
    staff = make_staff()
    data = get("dashboard/overview", staff)["data"]
    value = sum(row.shares * 95 for row in Holding.objects.all())
    assert data["stats"] == {
        "totalTransactions": Transaction.objects.count(),
        "totalRevenue": 0.5,
        "totalRoundUps": 4.0,
        "portfolioValue": float(round(value, 2)),
    }
    assert (len(data["revenueTrend"]["weekData"]), sum(data["revenueTrend"]["weekData"])) == (5, 0.5)
    assert len(data["userGrowth"]) == 6
    assert {row["type"] for row in data["recentActivity"]} == {"user", "transaction"}
    assert {"active_users", "server_load", "status", "uptime", "mapped_transactions"} == data["systemStatus"].keys()

    metrics = get("user-metrics", staff)
    assert (metrics["totalUsers"], metrics["individualUsers"]) == (2, 0)
    assert (metrics["familyUsers"], metrics["businessUsers"], metrics["activeUsers"]) == (1, 1, 1)
    assert (metrics["totalRoundUps"], metrics["totalFees"]) == (4.0, 0.5)


def test_investments_are_what_all_customers_own(ann: User):
    data = get("investments/summary", make_staff())["data"]
    owned = Holding.objects.aggregate(shares=Sum("shares"), cost=Sum("cost_basis"))
    [card] = data["investments"]
    assert (card["ticker"], card["userCount"], card["dashboardCount"]) == ("SBUX", 1, 1)
    assert (Decimal(str(card["shares"])), card["totalInvested"]) == (owned["shares"], float(owned["cost"]))
    assert card["currentValue"] == data["stats"]["currentValue"] == float(round(owned["shares"] * 95, 2))
    assert [row["merchant"] for row in card["transactions"]] == ["STARBUCKS"] * 2
    assert data["stats"]["uniqueStocks"] == 1


def test_the_list_of_users_has_their_figures_only_in_the_legacy_format(ann: User):
    refresh_rollups()
    purchase = {"amount": 4.5, "merchant": "CAFE", "date": f"{utc_today()}"}
    assert api_client(ann).post("/api/transactions", purchase, format="json").status_code == 201
    staff = make_staff()
    row = next(row for row in get("users", staff)["users"] if row["id"] == ann.pk)
    value = sum(holding.shares * 95 for holding in Holding.objects.filter(user=ann))
    expected = {"round_ups": 4.0, "fees": 0.5, "mapping_count": 1, "address": "1 Main St", "subscription_status": None}
    assert expected.items() <= row.items()
    assert row["total_balance"] == float(round(value, 2))
    assert row["total_lifetime_transactions"] == Transaction.objects.filter(user=ann).count() == 4
    assert "round_ups" not in get("users", staff, limit=10)["users"][0]


@pytest.mark.parametrize("query", [{"limit": 1000}, {"per_page": "99999999999"}, {"limit": 500}])
def test_more_rows_than_a_page_has_are_not_refused(query: dict[str, Any]):
    assert get("transactions", make_staff(), **query)["pagination"]["limit"] == 500


def test_every_role_sees_the_first_page_and_only_finance_the_books():
    for role in ("reviewer", "operator", "finance", "admin"):
        clerk = make_user(is_staff=True)
        clerk.groups.add(Group.objects.get(name=role))
        client, books = api_client(clerk), 200 if role in {"finance", "admin"} else 403
        assert client.get("/api/admin/dashboard/overview").status_code == 200, role
        for path in ("financial/accounts", "financial/accounts/categories", "financial-analytics"):
            assert client.get(f"/api/admin/{path}").status_code == books, (role, path)
        assert client.get(POSTINGS).status_code == books, role
    assert api_client(make_user()).get("/api/admin/dashboard/overview").status_code == 403


def test_large_tables_are_not_added_up_in_a_request(ann: User, monkeypatch: pytest.MonkeyPatch):
    for module, limit in ((holdings, "_MAX_HOLDINGS"), (customers, "_MAX_COUNTED"), (customers, "_MAX_SUMMED")):
        monkeypatch.setattr(module, limit, -1)
    settle_positions()
    refresh_rollups()
    staff = make_staff()
    [card] = get("investments/summary", staff)["data"]["investments"]
    assert Decimal(str(card["shares"])) == Holding.objects.aggregate(shares=Sum("shares"))["shares"]
    assert (card["userCount"], card["dashboardCount"]) == ("—", "—")
    assert get("user-metrics", staff)["estimated"] is True
    row = next(row for row in get("users", staff)["users"] if row["id"] == ann.pk)
    assert (row["transaction_count"], row["round_ups"], row["fees"]) == (3, None, None)
