"""What only the old admin sends: journal entries in its own words, settings, and actions that are not done here."""

from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, JournalDraft, LedgerTransfer, Setting

pytestmark = pytest.mark.django_db
JOURNAL = "/api/admin/journal-entries"
EXPENSE = {
    "date": "2026-01-15",
    "reference": "JE-1795734881000",
    "description": "Hosting",
    "location": "headquarters",
    "department": "engineering",
    "transactionType": "expense",
    "vendorName": "A cloud",
    "customerName": "",
    "amount": 12.5,
    "fromAccount": "67050",
    "toAccount": "30900",
    "status": "posted",
    "entries": [
        {"account": "67050", "debit": 12.5, "credit": 0, "description": "Hosting"},
        {"account": "30900", "debit": 0, "credit": 12.5, "description": "Payment for Hosting"},
    ],
    "totalDebit": 12.5,
    "totalCredit": 12.5,
}


def test_an_entry_of_the_old_dialog_is_posted_by_its_lines():
    reply = api_client(make_staff()).post(JOURNAL, EXPENSE, format="json")
    assert reply.status_code == 201
    entry = reply.json()["entry"]
    # The dialog debits `fromAccount` of an expense; the lines decide.
    assert (entry["to_account"], entry["from_account"], entry["amount"]) == ("67050", "30900", 12.5)
    assert (entry["transaction_type"], entry["vendor_name"]) == ("expense", "A cloud")
    [transfer] = LedgerTransfer.objects.filter(user_id=0)
    assert (transfer.debit_account, transfer.credit_account) == ("67050", "30900")
    listed = api_client(make_staff()).get(JOURNAL).json()
    assert (
        listed["journal_entries"] == listed["entries"] == [entry | {"created_by": listed["entries"][0]["created_by"]}]
    )


def test_without_lines_the_old_names_of_the_two_accounts_count():
    body = {name: value for name, value in EXPENSE.items() if name not in {"entries", "totalDebit", "totalCredit"}}
    entry = api_client(make_staff()).post(JOURNAL, body, format="json").json()["entry"]
    assert (entry["to_account"], entry["from_account"]) == ("30900", "67050")


@pytest.mark.parametrize(
    "changes",
    [
        {"totalDebit": 13},
        {"totalCredit": 99},
        {"amount": None},
        {"totalDebit": "NaN"},
        {"entries": []},
        {"entries": ["x", "y"]},
        {"entries": "none"},
        {"entries": [{"account": "67050", "debit": 12.5}, {"account": "30900", "credit": 12}]},
        {"entries": [{"account": "67050", "debit": 12.5}, {"account": "11100", "credit": 12.5}]},
        {"entries": [{"account": "67050", "debit": 12.5}, {"account": "30200", "credit": 12.5}]},
        {"date": "2999-01-01"},
    ],
)
def test_the_rules_of_the_journal_apply_to_the_old_dialog(changes: dict[str, Any]):
    reply = api_client(make_staff()).post(JOURNAL, EXPENSE | changes, format="json")
    assert (reply.status_code, reply.json()["success"]) == (400, False)
    assert not LedgerTransfer.objects.exists()


def test_above_the_limit_an_entry_of_the_old_dialog_stays_a_draft_for_another_person():
    Setting.objects.filter(key="journal_four_eyes_limit").update(value="10")
    entry = api_client(make_staff()).post(JOURNAL, EXPENSE, format="json").json()["entry"]
    assert (entry["status"], JournalDraft.objects.count(), LedgerTransfer.objects.count()) == ("draft", 1, 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "investments/process-mapped"),
        ("patch", "transactions/1/status"),
        ("post", "employees"),
        ("put", "employees/1"),
        ("delete", "employees/1"),
        ("post", "financial/accounts"),
        ("post", "financial/update-subscription-revenue"),
        ("post", "users/migrate-account-numbers"),
        ("post", "users/migrate-address-fields"),
    ],
)
def test_what_is_not_done_is_refused_with_a_sentence(method: str, path: str):
    reply = getattr(api_client(make_staff()), method)(f"/api/admin/{path}", {}, format="json")
    assert (reply.status_code, reply.json()["success"]) == (501, False)
    assert reply.json()["error"].endswith(".")
    customer = getattr(api_client(make_user()), method)(f"/api/admin/{path}", {}, format="json")
    assert customer.status_code == (501 if "migrate" in path else 403)
    if "migrate" in path:  # sent with a token that the page makes up
        client = api_client()
        client.credentials(HTTP_AUTHORIZATION="Bearer admin_token_3")
        assert client.post(f"/api/admin/{path}").json()["error"].startswith("There is nothing to migrate")


def test_one_transaction_is_processed_or_refused_with_the_reason():
    make_company("SBUX")
    make_merchant()
    customer = make_user()
    ready, waiting = make_transaction(customer), make_transaction(customer, "CAFE", status="mapped", ticker="SBUX")
    client, path = api_client(make_staff()), "/api/admin/investments/process-single"
    started = client.post(path, {"transaction_id": ready.pk}, format="json")
    assert (started.status_code, BackgroundTask.objects.filter(name="process_selected").count()) == (202, 1)
    refused = client.post(path, {"transaction_id": waiting.pk}, format="json")
    assert (refused.status_code, refused.json()["error"]) == (409, "Its order waits for the market to open.")
    assert client.post(path, {"transaction_id": 10**12}, format="json").status_code == 404


def test_staff_are_listed_with_their_roles_and_permissions():
    boss = make_staff("boss@example.com", name="Boss")
    clerk = make_user("clerk@example.com", is_staff=True)
    clerk.groups.add(Group.objects.get(name="reviewer"))
    make_user("customer@example.com")
    rows = {row["email"]: row for row in api_client(boss).get("/api/admin/employees").json()["employees"]}
    assert {email: row["role"] for email, row in rows.items()} == {boss.email: "superadmin", clerk.email: "reviewer"}
    allowed = {name for name, value in rows[clerk.email]["permissions"].items() if value}
    assert allowed == {"can_view_transactions", "can_access_llm"}


def test_settings_that_hold_are_shown_and_not_changed_by_the_old_form():
    client = api_client(make_staff())
    for page in ("system", "business"):
        path = f"/api/admin/settings/{page}"
        held = client.get(path).json()["settings"]
        assert client.put(path, held, format="json").json()["message"] == "Nothing changed."
        for changed in (held | {"maintenanceMode": True, "companyName": "X"}, held | {"platform_fee": "0.30"}, [1]):
            refused = client.put(path, changed, format="json")
            assert (refused.status_code, refused.json()["success"]) == (501, False)
            assert "in the admin, under Settings" in refused.json()["error"]
    assert Setting.objects.get(key="platform_fee").value == "0.25"
