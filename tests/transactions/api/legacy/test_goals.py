"""Goals as the form of the legacy business page sends and reads them."""

from typing import Any

import pytest

from tests.factories import api_client, make_user
from transactions.models import Goal

pytestmark = pytest.mark.django_db
FORM = {
    "name": "Reserve",
    "description": "Three months of rent",
    "target": 5000,
    "target_value": 5000,
    "current": 12.5,
    "current_value": 12.5,
    "department": "Finance",
    "deadline": "2027-01-31",
    "status": "in_progress",
}


@pytest.mark.parametrize("area", ["user", "family", "business"])
def test_what_the_form_sends_is_stored_and_shown_under_its_names(area: str) -> None:
    client = api_client(make_user())
    created = client.post(f"/api/{area}/goals", FORM, format="json")
    assert created.status_code == 201, created.json()
    body = client.get(f"/api/{area}/goals").json()
    (goal,) = body["goals"]
    assert goal == body["data"][0] == created.json()["data"]
    assert goal.items() >= FORM.items()
    assert (goal["title"], goal["target_amount"], goal["current_amount"]) == ("Reserve", 5000.0, 12.5)


def test_a_row_sent_back_changes_what_the_form_changed_and_nothing_else() -> None:
    client = api_client(make_user())
    client.post("/api/business/goals", FORM, format="json")
    (goal,) = client.get("/api/business/goals").json()["goals"]
    path = f"/api/business/goals/{goal['id']}"
    changed = client.put(path, goal | {"current": 100}, format="json").json()["data"]
    assert changed == goal | {"current": 100.0, "current_value": 100.0, "current_amount": 100.0, "progress": 2.0}
    assert client.put(path, {"status": "completed"}, format="json").json()["data"]["department"] == "Finance"


def test_goals_without_details_have_empty_ones() -> None:
    user = make_user()
    Goal.objects.create(user=user, title="Car", target_amount=9000)
    (goal,) = api_client(user).get("/api/user/goals").json()["goals"]
    assert [goal[name] for name in ("name", "description", "department", "deadline", "status")] == [
        "Car",
        "",
        "",
        "",
        "",
    ]


@pytest.mark.parametrize("change", [{"target": 0}, {"deadline": "soon"}, {"name": ""}, {"status": 5}])
def test_an_invalid_form_is_refused_with_a_text_for_its_banner(change: dict[str, Any]) -> None:
    reply = api_client(make_user()).post("/api/business/goals", FORM | change, format="json")
    assert reply.status_code == 400
    assert reply.json()["message"] == reply.json()["error"] != ""
