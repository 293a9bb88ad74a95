"""Admin pages of the transactions app: searches, actions on rows, and who may use them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import ApiToken, BackgroundTask, Merchant, Setting, User
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(make_staff())
    return client


def _viewer(*permissions: str) -> Client:
    """Log in as staff with these permissions of the app only."""
    user = make_user(is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="transactions", codename__in=permissions)
    )
    client = Client()
    client.force_login(user)
    return client


def _found(client: Client, model: str, **query: str) -> list[str]:
    page = client.get(reverse(f"admin:transactions_{model}_changelist"), query)
    return [str(row) for row in page.context["cl"].result_list]


def test_transactions_are_found_by_customer_number_or_waiting_merchant(client):
    make_company("SBUX")
    make_merchant("STARBUCKS", "SBUX")
    maya, liam = make_user("maya@kamioi.test"), make_user("liam@kamioi.test")
    bought = make_transaction(maya, "STARBUCKS", "4.50")
    make_transaction(liam, "CORNER CAFE", "7.25")
    process_pending()
    cases = {
        "MAYA@kamioi.test": ["STARBUCKS $4.50"],
        "nobody@kamioi.test": [],
        str(bought.pk): ["STARBUCKS $4.50"],
        "corner cafe": ["CORNER CAFE $7.25"],
        "STARBUCKS": [],  # no longer in the review queue
        str(2**70): [],
    }
    assert {term: _found(client, "transaction", q=term) for term in cases} == cases


def test_the_list_shows_which_purchase_a_refund_gives_back(client):
    user = make_user()
    bought, refund = make_transaction(user, "SHOP", "4.50"), make_transaction(user, "SHOP", "-4.50")
    lonely = make_transaction(user, "SHOP", "-1.00")
    process_pending()
    text = client.get(reverse("admin:transactions_transaction_changelist")).content.decode()
    assert f"of {bought.pk}" in text
    assert f"refunded by {refund.pk}" in text
    assert text.count("No matching purchase.") == 1
    assert _found(client, "unmatchedrefund") == ["SHOP $-1.00"]
    lonely.refresh_from_db()
    assert lonely.related_id is None


def test_users_are_found_by_their_exact_e_mail_or_account_number(client):
    make_user("maya@kamioi.test", account_number="AC-1")
    cases = {"Maya@Kamioi.test": ["maya@kamioi.test"], "AC-1": ["maya@kamioi.test"], "maya": [], "AC": []}
    assert {term: _found(client, "user", q=term) for term in cases} == cases


def test_ledger_transfers_are_filtered_by_either_account(client):
    make_company("SBUX")
    make_merchant("STARBUCKS", "SBUX")
    make_transaction(make_user(), "STARBUCKS", "4.50")
    process_pending()
    cases = {"22100": ["purchase $1.00"], "40100": ["fee $0.25"], "15200": []}
    assert {number: _found(client, "ledgertransfer", account__exact=number) for number in cases} == cases


@pytest.mark.parametrize(
    ("permissions", "status"),
    [(("view_backgroundtask",), "failed"), (("view_backgroundtask", "change_backgroundtask"), "queued")],
)
def test_retrying_failed_tasks_needs_the_permission_to_change_them(permissions, status):
    failed, done = (BackgroundTask.objects.create(name="refresh_prices", status=s) for s in ("failed", "completed"))
    _viewer(*permissions).post(
        reverse("admin:transactions_backgroundtask_changelist"),
        {"action": "retry", "_selected_action": [failed.pk, done.pk]},
    )
    assert [BackgroundTask.objects.get(pk=task.pk).status for task in (failed, done)] == [status, "completed"]


@pytest.mark.parametrize(
    ("permissions", "revoked"), [(("view_apitoken",), False), (("view_apitoken", "change_apitoken"), True)]
)
def test_revoking_tokens_needs_the_permission_to_change_them(permissions, revoked):
    ApiToken.issue(user=make_user())
    token = ApiToken.objects.get()
    _viewer(*permissions).post(
        reverse("admin:transactions_apitoken_changelist"), {"action": "revoke", "_selected_action": [token.pk]}
    )
    assert ApiToken.objects.filter(revoked_at=None).exists() is not revoked


@pytest.mark.parametrize(("value", "stored"), [("0.95", "0.95"), (" 0.5 ", "0.5"), ("1.5", "0.90"), ("high", "0.90")])
def test_a_setting_outside_its_range_is_refused(client, value, stored):
    setting = Setting.objects.get(key="confidence_threshold")
    client.post(reverse("admin:transactions_setting_change", args=[setting.pk]), {"value": value, "description": "d"})
    setting.refresh_from_db()
    assert setting.value == stored


def test_history_is_read_only_and_users_are_not_deleted(client):
    make_transaction(make_user())
    refused = ["transaction_add", "ledgertransfer_add", "order_add", "auditevent_add"]
    assert [client.get(reverse(f"admin:transactions_{name}")).status_code for name in refused] == [403] * 4
    user = User.objects.first()
    assert user is not None
    assert client.post(reverse("admin:transactions_user_delete", args=[user.pk]), {"post": "yes"}).status_code == 403


def test_merchants_are_found_by_the_start_of_their_name_in_any_case(client):
    for name in ("STARBUCKS", "STAR MARKET", "TARGET"):
        make_merchant(name, None, "proposed", decided_at=timezone.now() - timedelta(days=1))
    assert sorted(_found(client, "merchant", q="star")) == ["STAR MARKET", "STARBUCKS"]
    assert Merchant.objects.count() == 3
