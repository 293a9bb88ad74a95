"""Portfolio, quotes, notifications and the business overview with the keys that the legacy pages read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from pytest_django import Settings

from tests.factories import api_client, make_company, make_price, make_transaction, make_user
from transactions.models import Holding, Notification

pytestmark = pytest.mark.django_db
AREAS = ("user", "family", "business")


@pytest.mark.parametrize("area", AREAS)
def test_positions_are_those_of_the_documented_portfolio(area: str) -> None:
    user = make_user()
    make_company("SBUX", "90.00", name="Starbucks")
    make_company("TGT", "30.00", name="Target")
    for ticker, cost in (("SBUX", "80.00"), ("TGT", "40.00"), ("XYZ", "10.00")):
        Holding.objects.create(user=user, ticker=ticker, shares=Decimal(1), cost_basis=Decimal(cost))
    body = api_client(user).get(f"/api/{area}/portfolio").json()
    shown, data = body["portfolio"], body["data"]
    first, second, unpriced = shown["positions"]
    assert first == {
        "symbol": "SBUX",
        "name": "Starbucks",
        "shares": 1.0,
        "avgCost": 80.0,
        "average_price": 80.0,
        "currentPrice": 90.0,
        "value": 90.0,
        "change": 12.5,
        "allocation": 75.0,
    }
    assert (second["change"], second["allocation"]) == (-25.0, 25.0)
    # The family's page fails on null in these two.
    assert (unpriced["value"], unpriced["change"], unpriced["currentPrice"], unpriced["allocation"]) == (
        0,
        0,
        None,
        None,
    )
    assert shown["holdings"] == shown["positions"]
    assert shown["totalValue"] == shown["total_value"] == data["total_value"] == 120.0
    assert shown["cash"] == shown["cash_available"] == data["cash_balance"] == 0.0
    assert shown["gain_percentage"] == shown["roi"] == data["total_gain_loss_percent"] == 0.0
    assert [shown[name] for name in ("today_gain", "today_gain_percentage", "ytd_return")] == [None] * 3


def test_quotes_need_no_token_and_are_the_latest_of_the_asked_symbols() -> None:
    make_company("SBUX", "90.00")
    make_price("SBUX", "95.00", age=timedelta(seconds=1))
    make_company("TGT", "30.00")
    prices = api_client().get("/api/stock/prices?symbols=SBUX, sbux,XYZ,").json()["prices"]
    assert {symbol: quote["price"] for symbol, quote in prices.items()} == {"SBUX": 95.0}
    many = ",".join([*(f"T{number}" for number in range(100)), "TGT"])
    assert api_client().get(f"/api/stock/prices?symbols={many}").json()["prices"] == {}
    assert api_client().get("/api/stock/prices").json() == {"success": True, "prices": {}}


def test_quotes_have_their_own_rate(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"quotes": ["2/m"], "anonymous": ["1/h"]}
    client = api_client()
    assert [client.get("/api/stock/prices?symbols=SBUX").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/api/user/portfolio").status_code == 401


@time_machine.travel(datetime(2026, 3, 15, tzinfo=UTC), tick=False)
def test_a_business_sees_the_figures_of_its_purchases_only() -> None:
    firm = make_user(account_type="business")
    this_month, last_month = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC)

    def purchase(amount: int, date: datetime, **fields: Any) -> None:
        total = Decimal(amount + 1)
        make_transaction(firm, amount=str(amount), date=date, total_debit=total, round_up=Decimal(1), **fields)

    bought = {"ticker": "SBUX", "shares": Decimal(1), "price_per_share": Decimal(1), "investable": Decimal(1)}
    purchase(10, this_month, status="completed", round_up_cents=100, fee_cents=0, **bought)
    purchase(20, this_month, status="awaiting_price")
    purchase(40, last_month, status="not_listed")
    make_transaction(firm, amount="99", date=this_month, status="excluded")
    make_transaction(firm, amount="-5", date=this_month, status="refunded")
    make_transaction(make_user(), amount="7", date=this_month)
    body = api_client(firm).get("/api/business/dashboard/overview").json()
    assert body["data"]["quick_stats"] == {
        "total_transactions": 3,
        "total_revenue": 70.0,
        "total_roundups": 3.0,
        "monthly_purchases": 30.0,
        "monthly_revenue": 2.0,
        "revenue_growth": 100.0,
        "invested_transactions": 1,
        "total_invested": 1.0,
        "mapped_transactions": 1,
        "available_to_invest": 1.0,
    }


@pytest.mark.parametrize("area", AREAS)
def test_notifications_are_listed_under_both_keys_and_cannot_be_sent(area: str) -> None:
    user = make_user()
    Notification.objects.create(user=user, title="Bought", message="1 share")
    client = api_client(user)
    body = client.get(f"/api/{area}/notifications").json()
    assert [row["title"] for row in body["notifications"]] == ["Bought"]
    assert body["notifications"] == body["data"]
    refused = client.post(f"/api/{area}/notifications", {"title": "x", "message": "y"}, format="json")
    assert refused.status_code == 501
    assert refused.json()["message"] == refused.json()["error"]
    # Ids that the page made up itself.
    assert client.delete(f"/api/{area}/notifications/1795734881000-3bhi8r8n8").json()["error"] == "Not found."
    assert Notification.objects.count() == 1
