"""The staff API for transactions, settings, users and the journal: formats, limits, roles, a consistent ledger."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.api.staff.journal import EntryRow
from transactions.api.staff.transactions import SelectedOutput, WaitingOutput, WaitingTransaction
from transactions.api.staff.users import UserRow
from transactions.errors import InvalidEntryError
from transactions.models import (
    ApiToken,
    BackgroundTask,
    Goal,
    JournalDraft,
    LedgerAccount,
    LedgerTransfer,
    Setting,
    Transaction,
    User,
)
from transactions.services.journal import Line, pair_lines
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending
from transactions.tasks import check_ledger, process_selected, verify_ledger

pytestmark = pytest.mark.django_db
CENTER, JOURNAL, PEOPLE = "/api/admin/llm-center", "/api/admin/journal-entries", "/api/admin/users"


def with_role(role: str) -> User:
    user = make_user(is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def staff() -> User:
    return make_staff()


@pytest.fixture
def _open_market(settings: Settings) -> None:
    settings.MARKET_ALWAYS_OPEN = True


# --- Waiting transactions -----------------------------------------------------------------------------
def test_waiting_transactions_are_listed_by_page_and_filter(staff: User) -> None:
    ann = make_user("ann@example.com", name="Ann")
    for n, (merchant, status) in enumerate(
        [("CAFE", "needs_review"), ("CAFE", "needs_review"), ("SHOP_1", "pending"), ("DONE", "refunded")]
    ):
        make_transaction(ann, merchant, f"{n + 1}.00", status=status, category="Food" if n else "Travel")
    client, path = api_client(staff), f"{CENTER}/pending-transactions-paginated"
    body = client.get(path).json()
    assert set(body) == set(WaitingOutput.__annotations__)
    assert set(body["transactions"][0]) == set(WaitingTransaction.__annotations__)
    assert (body["transactions"][0]["user_email"], body["pagination"]["total"]) == ("ann@example.com", 3)
    assert (body["trading_limits"]["max_orders"], body["trading_limits"]["max_amount"]) == (500, 10_000)

    def found(**query: Any) -> list[float]:
        return [row["amount"] for row in client.get(path, query).json()["transactions"]]

    assert found() == [3.0, 2.0, 1.0]
    assert found(page=2, limit=2) == [1.0]
    assert found(merchant="cafe") == [2.0, 1.0]
    assert found(merchant="p_1") == [3.0]
    assert found(category="food", min_amount="2.5") == [3.0]
    assert found(max_amount="1") == [1.0]
    for bad in ({"page": "0"}, {"page": "99999999999"}, {"min_amount": "lots"}, {"max_amount": "NaN"}, {"limit": "0"}):
        assert client.get(path, bad).status_code == 400, bad


@pytest.mark.usefixtures("_open_market")
def test_selected_transactions_are_looked_up_at_once_and_bought_in_the_background(staff: User) -> None:
    make_company("SBUX")
    make_merchant()
    customer = make_user()
    known, parked = make_transaction(customer), make_transaction(customer, status="needs_review")
    unknown = make_transaction(customer, "CAFE")
    done = make_transaction(customer, amount="-1", status="refunded")
    client = api_client(staff)
    ids = [known.pk, parked.pk, unknown.pk, done.pk, 10**12]
    reply = client.post(f"{CENTER}/process-selected-transactions", {"transaction_ids": ids}, format="json")
    body = reply.json()
    assert reply.status_code == 202
    assert set(body) == set(SelectedOutput.__annotations__)
    assert [one["status"] for one in body["results"]] == ["mapped", "mapped", "no_match", "closed", "not_found"]
    assert (body["processed"], body["mapped"], body["no_match"], body["amount_processed"]) == (5, 2, 1, 2.0)
    process_selected(body["task_id"])
    statuses = dict(Transaction.objects.values_list("pk", "status"))
    assert [statuses[row.pk] for row in (known, parked, unknown)] == ["completed", "completed", "needs_review"]
    assert list(find_ledger_problems()) == []
    again = client.post(f"{CENTER}/process-selected-transactions", {"transaction_ids": ids}, format="json")
    assert (again.status_code, again.json()["task_id"], again.json()["mapped"]) == (200, None, 0)


def test_limits_apply_and_force_lifts_only_the_amount(staff: User) -> None:
    make_company("SBUX")
    make_merchant()
    customer = make_user(round_up_amount=6)
    ids = [make_transaction(customer).pk for _ in range(3)]
    Setting.objects.filter(key="process_selected_max_amount").update(value="10")
    client, path = api_client(staff), f"{CENTER}/process-selected-transactions"
    refused = client.post(path, {"transaction_ids": ids}, format="json")
    body = refused.json()
    assert (refused.status_code, body["success"], body["limit_exceeded"]) == (400, False, True)
    assert (body["requested_amount"], body["requested_orders"], body["limits"]["max_amount"]) == (18.0, 3, 10.0)
    assert BackgroundTask.objects.count() == 0
    forced = client.post(path, {"transaction_ids": ids, "force": True}, format="json")
    assert (forced.status_code, len(forced.json()["warnings"])) == (202, 1)
    Setting.objects.filter(key="process_selected_max_orders").update(value="2")
    assert client.post(path, {"transaction_ids": ids, "force": True}, format="json").status_code == 400
    unusable: tuple[dict[str, Any], ...] = (
        {},
        {"transaction_ids": []},
        {"transaction_ids": [0]},
        {"transaction_ids": [2**63]},
        {"transaction_ids": ["x"]},
    )
    for bad in unusable:
        assert client.post(path, bad, format="json").status_code == 400, bad


def test_one_transaction_is_processed_and_an_unknown_one_is_404(staff: User) -> None:
    make_company("SBUX")
    make_merchant()
    row = make_transaction(make_user())
    client, path = api_client(staff), f"{CENTER}/process-transaction"
    assert client.post(path, {"transaction_id": row.pk}, format="json").json()["mapped"] == 1
    assert client.post(path, {"transaction_id": 2**63 - 1}, format="json").status_code == 404
    assert client.post(path, {}, format="json").status_code == 400


# --- Settings ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [
        {"platform_fee": "0.30"},
        {"platform_fee": 0.3},
        {"key": "platform_fee", "value": "0.30"},
        {"settings": {"platform_fee": "0.30"}},
        {"settings": [{"key": "platform_fee", "value": "0.30"}]},
    ],
)
def test_settings_are_saved_in_every_format_and_keep_type_and_description(staff: User, body: dict[str, Any]) -> None:
    client = api_client(staff)
    before = {row["key"]: row for row in client.get("/api/admin/settings").json()["data"]}
    assert set(before["platform_fee"]) == {"key", "value", "type", "description"}
    reply = client.post("/api/admin/settings", body, format="json")
    assert reply.status_code == 200, reply.json()
    after = {row["key"]: row for row in reply.json()["data"]}
    assert Decimal(after["platform_fee"]["value"]) == Decimal("0.3")
    assert after["platform_fee"]["type"] == before["platform_fee"]["type"] == "decimal"
    assert LogEntry.objects.filter(change_message__contains="'0.25' → '0.3").count() == 1


def test_one_invalid_setting_refuses_all_of_them(staff: User) -> None:
    client = api_client(staff)
    unusable: tuple[Any, ...] = (
        {"platform_fee": "0.30", "confidence_threshold": "2"},
        {"platform_fee": "0.30", "auto_approval_enabled": "maybe"},
        {"nonsense": "1"},
        {},
        [],
        {"platform_fee": None},
        {"platform_fee": {"a": 1}},
        {"settings": [1]},
        {"process_selected_max_orders": "1.5"},
    )
    for bad in unusable:
        assert client.post("/api/admin/settings", bad, format="json").status_code == 400, bad
    assert Setting.objects.get(key="platform_fee").value == "0.25"
    assert client.post("/api/admin/settings", {"auto_approval_enabled": False}, format="json").status_code == 200
    assert Setting.objects.get(key="auto_approval_enabled").value == "false"


# --- Users -----------------------------------------------------------------------------------------------------
def test_users_are_listed_by_cursor_and_found_by_full_values(staff: User) -> None:
    people = [make_user(f"p{n}@example.com", account_number=f"I{n}") for n in range(5)]
    client, seen, cursor, costs = api_client(staff), [], "", []
    while cursor is not None:
        with CaptureQueriesContext(connection) as captured:
            body = client.get(PEOPLE, {"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        costs.append(len(captured))
        assert body["users"] == body["data"]
        seen += [row["id"] for row in body["data"]]
        cursor = body["next_cursor"]
    assert seen == [person.pk for person in [*reversed(people), staff]]
    assert len(set(costs)) == 1
    assert set(client.get(PEOPLE, {"limit": 1}).json()["data"][0]) == set(UserRow.__annotations__)
    assert "password" not in UserRow.__annotations__
    for search in ("P3@example.com", "I3", str(people[3].pk)):
        assert [row["id"] for row in client.get(PEOPLE, {"search": search}).json()["data"]] == [people[3].pk]
    assert client.get(PEOPLE, {"account_type": "business"}).json()["data"] == []
    assert client.get(PEOPLE, {"account_type": "odd"}).status_code == 400


def test_a_user_is_changed_closed_and_reopened_and_closing_revokes_tokens(staff: User) -> None:
    ann = make_user("ann@example.com")
    hers, client, path = api_client(ann), api_client(staff), f"{PEOPLE}/{ann.pk}"
    assert client.get(path).json()["user"]["status"] == "active"
    changed = client.put(path, {"name": "Ann B", "round_up_amount": 3}, format="json").json()["data"]
    assert (changed["name"], changed["round_up_amount"], changed["email"]) == ("Ann B", 3, "ann@example.com")
    assert hers.get("/api/user/auth/me").status_code == 200
    assert client.put(f"{path}/status", {"status": "inactive"}, format="json").json()["user"]["is_active"] is False
    assert hers.get("/api/user/auth/me").status_code == 401
    client.put(f"{path}/status", {"is_active": True}, format="json")
    assert hers.get("/api/user/auth/me").status_code == 401
    make_user("bob@example.com")
    for bad in (
        {"email": "bob@example.com"},
        {"email": "BOB@example.com"},
        {"round_up_amount": 0},
        {"account_type": "odd"},
    ):
        assert client.put(path, bad, format="json").status_code == 400, bad
    assert client.put(f"{path}/status", {}, format="json").status_code == 400
    for method in ("get", "put", "delete"):
        assert getattr(client, method)(f"{PEOPLE}/999999", format="json").status_code == 404
        assert getattr(client, method)(f"{PEOPLE}/{10**30}", format="json").status_code == 404
    assert LogEntry.objects.filter(change_message__contains="name: '' → 'Ann B'").exists()


def test_a_user_with_bookings_is_closed_and_one_without_is_deleted(staff: User) -> None:
    ann, bob = make_user(), make_user()
    make_transaction(ann)
    ApiToken.issue(user=bob)
    Goal.objects.create(user=bob, title="Car", target_amount=1)
    client = api_client(staff)
    kept = client.delete(f"{PEOPLE}/{ann.pk}").json()
    gone = client.delete(f"{PEOPLE}/{bob.pk}").json()
    assert (kept["deleted"], gone["deleted"]) == (False, True)
    assert User.objects.get(pk=ann.pk).is_active is False
    assert not User.objects.filter(pk=bob.pk).exists()
    assert Goal.objects.count() == 0
    named = make_user()
    BackgroundTask.objects.create(name="x", user=named)  # a reference from another table
    assert client.delete(f"{PEOPLE}/{named.pk}").json()["deleted"] is False


def test_only_superusers_change_staff_and_users_cannot_close_themselves() -> None:
    clerk = with_role("admin")
    boss = make_staff()
    for target in (boss, with_role("reviewer")):
        assert (
            api_client(clerk).put(f"{PEOPLE}/{target.pk}", {"email": "me@example.com"}, format="json").status_code
            == 403
        )
        assert api_client(clerk).delete(f"{PEOPLE}/{target.pk}").status_code == 403
    assert api_client(boss).put(f"{PEOPLE}/{clerk.pk}", {"name": "Clerk"}, format="json").status_code == 200
    assert api_client(boss).put(f"{PEOPLE}/{boss.pk}/status", {"status": "inactive"}, format="json").status_code == 403
    assert api_client(boss).delete(f"{PEOPLE}/{boss.pk}").status_code == 403


# --- The journal ------------------------------------------------------------------------------------------------
RENT = {"from_account": "21000", "to_account": "60100", "amount": 120.5, "description": "Rent", "date": "2024-11-01"}


@pytest.fixture
def _accounts() -> None:
    for number, name, kind in [
        ("60100", "Rent", "expense"),
        ("60200", "Power", "expense"),
        ("21000", "Bills", "liability"),
    ]:
        LedgerAccount.objects.create(number=number, name=name, type=kind)


@pytest.mark.usefixtures("_accounts")
def test_an_entry_is_posted_as_balanced_transfers_and_reversed_by_contra_postings() -> None:
    client = api_client(with_role("finance"))
    reply = client.post(JOURNAL, RENT, format="json")
    assert reply.status_code == 201, reply.json()
    entry = reply.json()["entry"]
    assert set(entry) == set(EntryRow.__annotations__)
    assert (entry["status"], entry["amount"], entry["from_account"], entry["to_account"]) == (
        "posted",
        120.5,
        "21000",
        "60100",
    )
    (booked,) = LedgerTransfer.objects.all()
    assert (booked.user_id, booked.debit_account, booked.credit_account, booked.amount) == (
        0,
        "60100",
        "21000",
        Decimal("120.50"),
    )
    assert booked.reference == entry["id"]
    path = f"{JOURNAL}/{entry['id']}"
    assert client.get(path).json()["data"] == entry
    assert client.put(path, {"description": "Other"}, format="json").status_code == 409
    for _ in range(2):  # a second call changes nothing
        gone = client.delete(path).json()
        assert (gone["reversed"], gone["entry"]["status"]) == (True, "reversed")
    sides = LedgerTransfer.objects.order_by("pk").values_list("debit_account", "credit_account", "amount")
    assert list(sides) == [("60100", "21000", Decimal("120.50")), ("21000", "60100", Decimal("120.50"))]
    assert list(find_ledger_problems()) == []


@pytest.mark.usefixtures("_accounts")
def test_an_entry_of_several_lines_is_split_into_transfers() -> None:
    lines = [
        {"account_code": "60100", "debit": 100},
        {"account_code": "60200", "debit": "20.50"},
        {"account_code": "21000", "credit": 70},
        {"account_code": "30900", "credit": "50.50"},
    ]
    reply = api_client(with_role("finance")).post(JOURNAL, {"lines": lines, "reference": "R1"}, format="json")
    assert reply.status_code == 201, reply.json()
    body = reply.json()["entry"]
    assert (body["amount"], len(body["lines"]), body["from_account"]) == (120.5, 4, None)
    booked = LedgerTransfer.objects.order_by("pk").values_list("debit_account", "credit_account", "amount")
    assert list(booked) == [
        ("60100", "21000", Decimal(70)),
        ("60100", "30900", Decimal(30)),
        ("60200", "30900", Decimal("20.50")),
    ]


@pytest.mark.usefixtures("_accounts")
def test_a_draft_is_changed_posted_or_deleted() -> None:
    client = api_client(with_role("finance"))
    draft = client.post(JOURNAL, RENT | {"status": "draft"}, format="json").json()["entry"]
    path = f"{JOURNAL}/{draft['id']}"
    assert (draft["status"], LedgerTransfer.objects.count()) == ("draft", 0)
    changed = client.put(
        path, {"description": "November", "to_account": "60200", "from_account": "21000", "amount": 9}, format="json"
    )
    assert (changed.json()["entry"]["description"], changed.json()["entry"]["amount"]) == ("November", 9.0)
    assert client.put(path, {"status": "posted"}, format="json").json()["entry"]["status"] == "posted"
    assert LedgerTransfer.objects.get().amount == Decimal(9)
    other = client.post(JOURNAL, RENT | {"status": "draft"}, format="json").json()["entry"]
    assert client.delete(f"{JOURNAL}/{other['id']}").json()["entry"] is None
    assert client.get(f"{JOURNAL}/{other['id']}").status_code == 404


@pytest.mark.usefixtures("_accounts")
def test_above_the_limit_another_person_posts_and_reverses() -> None:
    ann, bob = api_client(with_role("finance")), api_client(with_role("finance"))
    reply = ann.post(JOURNAL, RENT | {"amount": "10000.01"}, format="json")
    assert (reply.status_code, reply.json()["entry"]["status"]) == (201, "draft")
    assert "posted by someone who did not write it" in reply.json()["message"]
    path = f"{JOURNAL}/{reply.json()['entry']['id']}"
    refused = ann.put(path, {"status": "posted"}, format="json")
    assert (refused.status_code, refused.json()["success"]) == (403, False)
    assert "journal_four_eyes_limit" in refused.json()["error"]
    assert ann.get(path).json()["entry"]["status"] == "draft"
    assert bob.put(path, {"status": "posted"}, format="json").json()["entry"]["status"] == "posted"
    assert bob.delete(path).status_code == 403
    assert ann.delete(path).json()["entry"]["status"] == "reversed"
    assert ann.get(path).json()["entry"]["status"] == "reversed"


@pytest.mark.usefixtures("_accounts")
def test_an_entry_that_overdraws_the_bank_is_refused_with_the_amount_that_is_missing() -> None:
    client = api_client(with_role("finance"))
    client.post(JOURNAL, {"from_account": "30900", "to_account": "10100", "amount": 100}, format="json")
    reply = client.post(JOURNAL, RENT | {"from_account": "10100"}, format="json")
    assert (reply.status_code, reply.json()) == (
        409,
        {
            "success": False,
            "error": "Bank (10100) has $100.00 and this entry takes $120.50: $20.50 is missing.",
            "balance": 100.0,
            "shortfall": 20.5,
        },
    )
    assert len(client.get(JOURNAL).json()["entries"]) == 1


@pytest.mark.usefixtures("_accounts")
@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"from_account": "21000"},
        RENT | {"amount": 0},
        RENT | {"amount": 1e30},
        RENT | {"amount": 0.001},
        RENT | {"to_account": "21000"},
        RENT | {"to_account": "99999"},
        RENT | {"to_account": "20100"},
        RENT | {"date": "1999-12-31"},
        RENT | {"date": (timezone.now().date() + timedelta(days=2)).isoformat()},
        RENT | {"date": "9999-12-31"},
        {"lines": []},
        {"lines": [{"account_code": "60100", "debit": 1}] * 101},
        {"lines": [{"account_code": "60100", "debit": 2}, {"account_code": "21000", "credit": 1}]},
        {"lines": [{"account_code": "60100", "debit": 2, "credit": 2}, {"account_code": "21000", "credit": 1}]},
        {"lines": [{"account_code": "60100"}, {"account_code": "21000", "credit": 1}]},
        RENT | {"description": "\0"},
        RENT | {"status": "odd"},
    ],
)
def test_an_invalid_entry_is_refused_and_nothing_is_posted(bad: dict[str, Any]) -> None:
    assert api_client(with_role("finance")).post(JOURNAL, bad, format="json").status_code == 400
    assert (JournalDraft.objects.count(), LedgerTransfer.objects.count()) == (0, 0)


@pytest.mark.usefixtures("_accounts")
def test_the_journal_shows_entries_of_staff_and_bookings_of_the_system(staff: User) -> None:
    finance = api_client(with_role("finance"))
    for day, status in (("2024-11-02", "draft"), ("2024-11-04", "posted")):
        finance.post(JOURNAL, RENT | {"date": day, "status": status}, format="json")
    for number in (1, 3, 3):
        LedgerTransfer.objects.create(
            user_id=0,
            date=f"2024-11-0{number}T00:00Z",
            kind="journal",
            debit_account="60100",
            credit_account="10100",
            amount=1,
            reference="JE-1700000000000-1234",
        )
    LedgerTransfer.objects.create(
        user_id=7, date="2024-11-03T00:00Z", kind="fee", debit_account="11100", credit_account="40100", amount=1
    )
    seen, cursor, costs = [], "", []
    while cursor is not None:
        with CaptureQueriesContext(connection) as captured:
            page = finance.get(JOURNAL, {"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        costs.append(len(captured))
        seen += [(row["date"], row["id"][:2]) for row in page["entries"]]
        cursor = page["next_cursor"]
    assert seen == [
        ("2024-11-04", "JE"),
        ("2024-11-03", "LT"),
        ("2024-11-03", "LT"),
        ("2024-11-02", "JE"),
        ("2024-11-01", "LT"),
    ]
    assert max(costs) - min(costs) <= 2  # with one kind of row or all
    system = next(row for row in finance.get(JOURNAL).json()["entries"] if row["id"].startswith("LT"))
    assert (system["transaction_type"], system["lines"][0]["debit"]) == ("journal", 1.0)
    assert finance.get(f"{JOURNAL}/{system['id']}").json()["entry"] == system
    for method in ("put", "delete"):
        assert getattr(finance, method)(f"{JOURNAL}/{system['id']}", format="json").status_code == 409
    for unknown in ("JE-999", "LT-999", "nothing", f"JE-{10**30}", "JE-1%00"):
        assert finance.get(f"{JOURNAL}/{unknown}").status_code == 404, unknown
    assert finance.get(JOURNAL, {"cursor": "odd"}).status_code == 400


@given(
    amounts=st.lists(st.integers(1, 10_000), min_size=1, max_size=8), parts=st.lists(st.integers(1, 10_000), max_size=6)
)
def test_matching_uses_every_line_up_to_the_cent(amounts: list[int], parts: list[int]) -> None:
    total, credits_ = sum(amounts), list[int]()
    for part in parts:
        if sum(credits_) + part < total:
            credits_.append(part)
    credits_.append(total - sum(credits_))
    lines = [Line(f"D{n}", Decimal(cents) / 100, Decimal(0)) for n, cents in enumerate(amounts)]
    lines += [Line(f"C{n}", Decimal(0), Decimal(cents) / 100) for n, cents in enumerate(credits_)]
    pairs = pair_lines(lines)
    assert all(pair.amount > 0 for pair in pairs)
    for line in lines:
        booked = sum(pair.amount for pair in pairs if line.account in {pair.debit, pair.credit})
        assert booked == line.debit + line.credit
    with pytest.raises(InvalidEntryError):
        pair_lines([*lines, Line("D0", Decimal("0.01"), Decimal(0))])


def test_the_journal_requires_permissions_to_read_and_write() -> None:
    codes = {
        role: (
            api_client(with_role(role)).get(JOURNAL).status_code,
            api_client(with_role(role)).post(JOURNAL, {}, format="json").status_code,
        )
        for role in ("reviewer", "operator", "finance", "admin", "customer")
    }
    assert codes == {
        "reviewer": (403, 403),
        "operator": (403, 403),
        "finance": (200, 400),
        "admin": (200, 400),
        "customer": (403, 403),
    }


# --- Ledger verification --------------------------------------------------------------------------------
@pytest.mark.usefixtures("_open_market")
@pytest.mark.as_owner
def test_the_ledger_is_verified_in_the_background_and_the_last_result_is_shown(staff: User) -> None:
    client, path = api_client(staff), "/api/admin/ledger/consistency"
    never = client.get(path).json()["data"]
    assert (never["status"], never["is_consistent"], never["problems"]) == ("never", None, None)
    asked = client.post(path)
    assert (asked.status_code, client.post(path).json()["task_id"]) == (202, asked.json()["task_id"])
    verify_ledger(asked.json()["task_id"])
    right = client.get(path).json()["data"]
    assert (right["is_consistent"], right["problems"], right["examples"]) == (True, 0, [])
    make_company("SBUX")
    make_merchant()
    make_transaction(make_user())
    process_pending()
    LedgerTransfer.objects.filter(kind="fee").delete()
    verify_ledger(check_ledger())
    wrong = client.get(path).json()["data"]
    assert (wrong["is_consistent"], wrong["problems"], len(wrong["examples"])) == (False, 3, 3)
    assert date.fromisoformat(wrong["checked_at"][:10]) == timezone.now().date()
