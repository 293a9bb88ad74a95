"""The calls of the legacy front end, made by a browser: none fails, and each reply has what the components read.

`tests/data/legacy_calls.json` lists them by page, as they were observed and read from the components. `reads` are paths
into the reply: `a[0].b` needs an item, `a[].b` is for the first one, if any, `a|b` is either. `status` is what is
answered on purpose.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.utils import timezone
from playwright.sync_api import Page
from pytest_django import Settings

from analytics.services.ledger_days import update_ledger_days
from analytics.services.rollups import rebuild_rollups
from tests.browser.conftest import needs_chromium
from tests.factories import PASSWORD, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import Goal, Notification, User
from transactions.services.processing import process_pending

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), needs_chromium]

DATA: Final = Path(__file__).parent.parent / "data" / "legacy_calls.json"
AREAS: Final = {"individual": "user", "family": "family", "business": "business", "admin": "admin", "public": "user"}
# A page of the same origin, as behind a proxy: it calls like the front end, one call after the other.
PAGE: Final = """<!doctype html><title>Calls</title><script>
async function send({method, url, headers, body}) {
  const reply = await fetch(url, {method, headers, body: body ?? undefined, credentials: "omit"});
  const text = await reply.text();
  try { return {status: reply.status, reply: JSON.parse(text)} } catch { return {status: reply.status, reply: null} }
}
async function sendAll(calls) {
  const replies = [];
  for (const call of calls) replies.push(await send(call));
  return replies;
}
</script>"""


def has(reply: Any, path: str) -> bool:
    """Return whether the reply has what is read."""
    head, _, rest = path.partition(".")
    names, _, index = head.partition("[")
    name = next((name for name in names.split("|") if isinstance(reply, dict) and name in reply), None)
    if name is None:
        return False
    inner = reply[name]
    if index:
        if not isinstance(inner, list) or not inner:
            return index == "]" and inner == []
        inner = inner[0]
    return not rest or has(inner, rest)


def _make_customer(kind: str) -> dict[str, Any]:
    user = make_user(account_type=kind, name="Ann Fox")
    bought, waiting = make_transaction(user), make_transaction(user, "CORNER ROASTERY")
    make_transaction(user, date=timezone.now() - timedelta(days=40))  # for the statement of a past month
    goal = Goal.objects.create(user=user, title="Car", target_amount=9)
    notification = Notification.objects.create(user=user, title="Hello", message="you")
    return _person(user) | {
        "transaction": bought.pk, "waiting": waiting.pk, "goal": goal.pk, "notification": notification.pk
    }  # fmt: skip


def _person(user: User) -> dict[str, Any]:
    return {"email": user.email, "password": PASSWORD, "period": f"{timezone.now():%Y-%m}"}


def _filled(text: str, values: dict[str, Any]) -> str:
    for name, value in values.items():
        text = text.replace(f'"{{{name}}}"', json.dumps(value)).replace(f"{{{name}}}", str(value))
    return text


def _request(call: dict[str, Any], values: dict[str, Any], token: str) -> dict[str, Any]:
    method, _, url = _filled(call["call"], values).partition(" ")
    headers = json.loads(_filled(json.dumps(call.get("headers", {})), values | {"token": token}))
    if call.get("token", True) and token:
        headers["Authorization"] = f"Bearer {token}"
    body = _filled(json.dumps(call["send"]), values) if "send" in call else None
    if body is not None:
        headers["Content-Type"] = "application/json"
    return {"method": method, "url": url, "headers": headers, "body": body}


def _problems(call: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    expected = call.get("status")
    allowed = expected if isinstance(expected, list) else [expected]
    if answer["status"] not in allowed if expected else answer["status"] >= 400:
        return [f"{answer['status']} {json.dumps(answer['reply'])[:120]}"]
    return [f"no {path}" for path in call["reads"] if not has(answer["reply"], path)]


def test_every_call_of_the_legacy_front_end_is_answered_as_its_pages_read_it(
    live_server: Any, page: Page, settings: Settings
) -> None:
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}
    make_company("SBUX", "95.00", name="Starbucks Corporation")
    make_merchant("STARBUCKS", "SBUX")
    people = {kind: _make_customer(kind) for kind in ("individual", "family", "business")}
    people["public"] = people["individual"]
    people["admin"] = people["individual"] | _person(make_staff())
    process_pending()
    rebuild_rollups()
    for _ in range(2):
        update_ledger_days(settle=None)

    page.route("**/legacy-calls.html", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(f"{live_server.url}/legacy-calls.html")
    found: list[str] = []
    sections = json.loads(DATA.read_text())
    for role, area in AREAS.items():
        values = people[role] | {"area": area}
        token = ""
        for section in (section for section in sections if role in section["roles"]):
            calls = section["calls"]
            answers = []
            if "/auth/login" in calls[0]["call"]:
                answers = page.evaluate("calls => sendAll(calls)", [_request(calls[0], values, "")])
                token = answers[0]["reply"]["token"]
            requests = [_request(call, values, token) for call in calls[len(answers) :]]
            answers += page.evaluate("calls => sendAll(calls)", requests)
            for call, answer in zip(calls, answers, strict=True):
                found += [
                    f"{role}, {section['page']}: {_filled(call['call'], values)}: {problem}"
                    for problem in _problems(call, answer)
                ]
    page.problems.clear()  # type: ignore[attr-defined]  # statuses that are expected
    assert not found, "\n".join(found)
