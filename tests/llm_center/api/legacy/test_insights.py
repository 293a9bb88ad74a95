"""AI Insights of customers: their own proposals and the decisions on them, under the keys of each page."""

from decimal import Decimal

import pytest

from llm_center.models import LlmMapping
from tests.factories import api_client, make_user
from transactions.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer() -> User:
    user, other = make_user(), make_user()
    for number, (owner, status, source) in enumerate(
        [(user, "approved", "user"), (user, "rejected", "user"), (user, "pending", "user"), (other, "approved", "user")]
    ):
        LlmMapping.objects.create(
            merchant_name=f"SHOP {number}",
            merchant_key=f"SHOP {number}",
            ticker="SBUX",
            status=status,
            source=source,
            user=owner,
            transaction_id=number,
            confidence=Decimal("0.8"),
        )
    return user


@pytest.mark.parametrize(("area", "rejected"), [("user", "denied"), ("family", "rejected"), ("business", "rejected")])
def test_customers_see_their_own_proposals_and_the_decisions(customer: User, area: str, rejected: str) -> None:
    body = api_client(customer).get(f"/api/{area}/ai/insights").json()
    assert [(row["transaction_id"], row["status"], row["admin_approved"]) for row in body["data"]] == [
        (2, "pending", 0),
        (1, rejected, -1),
        (0, "approved", 1),
    ]
    assert body["stats"] == {
        "totalMappings": 3,
        "approvedMappings": 1,
        "pendingMappings": 1,
        "rejectedMappings": 1,
        "accuracyRate": 50,
        "pointsEarned": 0,
    }


def test_the_family_page_reads_other_names(customer: User) -> None:
    client = api_client(customer)
    history = client.get("/api/family/mapping-history").json()["data"]
    assert len(history["mappings"]) == history["stats"]["total_mappings"] == 3
    assert client.get("/api/family/ai-insights").json()["insights"]["approvedMappings"] == 1


def test_recommendations_are_empty_and_never_made_up() -> None:
    reply = api_client(make_user()).post("/api/ai/recommendations", {"user_data": {}}, format="json").json()
    assert (reply["success"], reply["data"]["recommendations"], reply["data"]["insights"]) == (True, [], [])
    assert "no recommendations" in reply["data"]["disclaimer"]


@pytest.mark.parametrize("path", ["user/ai/insights", "family/mapping-history", "family/ai-insights"])
def test_insights_need_a_token(path: str) -> None:
    assert api_client().get(f"/api/{path}").status_code == 401
