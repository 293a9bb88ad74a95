"""Every changelist of the admin opens, at the same cost for any number of rows."""

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from django_otp.plugins.otp_totp.models import TOTPDevice
from waffle.models import Flag

from analytics.models import (
    CustomerCount,
    CustomerMonth,
    DecisionDay,
    LedgerDay,
    LedgerMark,
    LlmAnalyticsSummary,
    MappingDay,
    Report,
    RollupPartition,
    TransactionDay,
)
from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.keyset import KeysetAdmin
from llm_center.models import (
    AmortizationEntry,
    AmortizationReversal,
    AssetEvent,
    CalibrationFit,
    CatalogueBrand,
    LlmCall,
    LlmDataAsset,
    LlmMapping,
    MappingDecision,
    MappingDelta,
    MappingImport,
    MappingImportKey,
    MappingImportReject,
    PendingDecision,
    ProposalClaim,
    ReviewMerchant,
)
from llm_center.services.proposal_queue import propose_merchants
from llm_center.services.review.queue import queue_totals_cached
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import (
    AccountMember,
    ApiToken,
    BackgroundTask,
    BankAccount,
    BrokerOrder,
    BrokerPosition,
    Collection,
    DetachedPartition,
    Goal,
    IdempotencyKey,
    ImportProfile,
    JournalDraft,
    JournalEntry,
    JournalReversal,
    LedgerSeal,
    Merchant,
    MigrationReject,
    MigrationRun,
    Order,
    PeriodClosing,
    PlatformFee,
    PossibleDuplicate,
    StatementImport,
    StatementReject,
    Transaction,
    TransactionDelta,
    UnmatchedRefund,
    UserSetting,
)
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db

# Session, user and the review queue's badge.
BASE = 3
ROUNDS = 4


@pytest.fixture
def staff_client() -> Client:
    """Log in as an administrator."""
    client = Client()
    client.force_login(make_staff())
    return client


def _fill(number: int) -> None:
    """Create a few rows of every model."""
    user, company = make_user(), make_company(f"TICK{number}")
    make_merchant(f"KNOWN {number}", company.ticker)
    make_transaction(user, f"KNOWN {number}")
    unknown = make_transaction(user, f"UNKNOWN {number}", "7.25")
    make_transaction(
        user,
        f"UNKNOWN {number}",
        "7.25",
        status="on_hold",
        failure_reason=Transaction.HoldReason.DUPLICATE,
        related_id=unknown.pk,
    )
    process_pending()
    propose_merchants()
    merchant = Merchant.objects.get(merchant_key=f"UNKNOWN {number}")
    PendingDecision.objects.create(merchant=merchant, action="not_listed", requested_by=user)
    task = BackgroundTask.objects.create(name="ingest_statement", user=user)
    statement = StatementImport.objects.create(task=task, user=user, filename=f"{number}.csv")
    StatementReject.objects.create(statement=statement, row_number=1, field="date", reason="none")
    account = BankAccount.objects.create(user=user, last_four="1234", digest=f"{number}")
    ImportProfile.objects.create(user=user, bank_account=account, layout="a", answers={"spending": "negative"})
    ApiToken.issue(user=user)
    UnmatchedRefund.objects.create(
        user=user, transaction_id=number + 1, date=timezone.now(), merchant_key="X", amount=Decimal(-1)
    )
    Order.objects.create(
        user=user,
        transaction_id=number + 1000,
        transaction_date=timezone.now(),
        ticker=company.ticker,
        amount=Decimal(1),
        execute_after=timezone.now() + timedelta(days=1),
    )
    Goal.objects.create(user=user, title=f"Goal {number}", target_amount=Decimal(100))
    AccountMember.objects.create(owner=user, email=f"member{number}@example.com")
    UserSetting.objects.create(user=user, setting_key="theme", setting_value="dark")
    IdempotencyKey.objects.create(user=user, key=f"key {number}", fingerprint="0" * 64, status=201)
    ProposalClaim.objects.create(merchant=merchant, claimed_at=timezone.now())
    LlmCall.objects.create(provider="openai", merchants=1, prompt_tokens=1, completion_tokens=1, duration_ms=1)
    LogEntry.objects.create(user=user, action_flag=1, object_repr="x", change_message="y")
    CatalogueBrand.objects.create(name=f"Brand {number}", ticker=company.ticker)
    BrokerPosition.objects.create(ticker=company.ticker, shares=1, cost_basis=1)
    LedgerSeal.objects.create(
        day=timezone.now().date() - timedelta(days=number + 1),
        rows=1,
        sums={},
        balances={},
        holdings=0,
        cost=0,
        digest="0" * 64,
        events=0,
        last_event_id=0,
        events_digest="0" * 64,
        chain="0" * 64,
        sealed_at=timezone.now(),
    )
    PeriodClosing.objects.create(month=date(2001 + number, 1, 1))
    PlatformFee.objects.create(first_day=date(2001, 1, 1) + timedelta(days=number), fee=1, max_share=1)
    BrokerOrder.objects.create(ticker=company.ticker, side="buy", shares=1, price=1, amount=1)
    Collection.objects.create(day=timezone.now(), collected_to=number, customers=1, amount=1, returned=0)
    MappingDecision.objects.create(
        merchant_key=f"KNOWN {number}", action="approve", before={}, after={"ticker": company.ticker}, decided_by=user
    )
    LlmMapping.objects.create(merchant_name="X", merchant_key="X", source="admin", decided_by=user)
    asset = LlmDataAsset.objects.create(asset_name=f"Model {number}", asset_type="model")
    AssetEvent.objects.create(
        asset=asset, kind="cost", amount=Decimal(1), dated_on=timezone.now().date(), created_by=user
    )
    AmortizationEntry.objects.create(asset=asset, period=timezone.now().date().replace(day=1), amount=Decimal(1))
    entry = {"entry_date": timezone.now().date(), "amount": 1, "lines": [], "created_by": user}
    JournalDraft.objects.create(**entry)
    JournalEntry.objects.create(pk=number + 1, **entry)
    run = MigrationRun.objects.create(command="copy")
    MigrationReject.objects.create(run=run, table_name="users", row={}, reason="none")
    Flag.objects.get_or_create(name="kamioi_reads")
    AccessAttempt.objects.create(
        username=user.email,
        ip_address="10.0.0.1",
        user_agent="x",
        http_accept="",
        path_info="/",
        get_data="",
        post_data="",
        failures_since_start=1,
    )
    TOTPDevice.objects.create(user=user, name="authenticator")
    mappings = MappingImport.objects.create(
        task=BackgroundTask.objects.create(name="import_mappings"), filename="m.csv", sha256=f"{number}"
    )
    CalibrationFit.objects.create(source="matcher", points=[[0.5, 0.4]], observations=3)
    MappingImportReject.objects.create(mapping_import=mappings, row_number=2, field="ticker", reason="none")
    today = timezone.now().date()
    CustomerMonth.objects.create(month=today.replace(day=1), user=user, rows=1)
    CustomerCount.objects.create(month=today - timedelta(days=number), account_type="family", users=1, transactions=1)
    DecisionDay.objects.create(
        day=today - timedelta(days=number),
        automatic=False,
        action="approve",
        decisions=1,
        reversed=0,
        overturned=0,
        released=1,
        waited=1,
    )
    TransactionDay.objects.create(
        day=today, status="completed", ticker=company.ticker, rows=1, amount=1, round_up=1, fee=0, investable=1
    )
    MappingDay.objects.create(
        day=today - timedelta(days=number), status="pending", source="llm", automatic=False, rows=1, confidence=1
    )
    LedgerDay.objects.create(
        day=today - timedelta(days=number), kind="fee", debit_account="10100", credit_account="40100", rows=1, amount=1
    )
    LedgerMark.objects.create(counted_to=0, high_water_mark=0, open_before=0)
    Report.objects.create(
        kind="statement", period=today.replace(day=1), user=user, format="pdf", task=task, file="x.pdf", size=1, rows=0
    )
    RollupPartition.objects.create(name=f"transactions_{number}", relation=1, written=0, unreported_writes=0)
    TransactionDelta.objects.create(
        day=today, status="pending", rows=1, amount=1, round_up=0, fee=0, investable=0, writes=1
    )
    MappingDelta.objects.create(
        day=today, status="pending", source="llm", automatic=False, rows=1, confidence=1, writes=1
    )
    MappingImportKey.objects.create(
        mapping_import=mappings, merchant_key="X", ticker="X", display_name="X", confidence=1
    )


# Once a minute a page stores when staff were last active, and every 30 seconds it counts the menu's badge.
_NOW_AND_THEN = re.compile(r'SAVEPOINT|UPDATE "django_session"|"merchants"."waiting_amount"\) AS "amount"')


def _statements(client: Client, address: str) -> list[str]:
    """Return the statements of a page that it needs every time."""
    with CaptureQueriesContext(connection) as captured:
        reply = client.get(address)
        assert reply.status_code == 200, address
    return [query["sql"] for query in captured.captured_queries if not _NOW_AND_THEN.search(query["sql"])]


def test_every_changelist_costs_a_fixed_number_of_queries(staff_client, subtests):
    staff_client.get(reverse("admin:index"))  # caches whether the user has a second factor
    _fill(0)
    queue_totals_cached()  # the menu badge
    addresses = {
        model._meta.label: reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for model in admin.site._registry
    }
    before = {label: _statements(staff_client, address) for label, address in addresses.items()}
    for number in range(1, ROUNDS):
        _fill(number)
    queue_totals_cached()
    for model, page in admin.site._registry.items():
        with subtests.test(model._meta.label):
            statements = _statements(staff_client, addresses[model._meta.label])
            assert len(statements) == len(before[model._meta.label])
            assert not any(" OFFSET " in statement for statement in statements)
            if isinstance(page, KeysetAdmin):
                # The rows, and a few queries around them.
                assert len(statements) <= BASE + {ReviewMerchant: 7, PossibleDuplicate: 6}.get(model, 4), statements
                table = model._meta.db_table
                counts = [text for text in statements if re.search(rf'COUNT\(\*\).*FROM "{table}"', text)]
                # The totals of the review queue come from its partial index.
                assert all("waiting" in text or "'proposed', 'rejected'" in text for text in counts), counts


def test_every_page_of_a_row_opens(staff_client, subtests):
    _fill(0)
    for model in admin.site._registry:
        with subtests.test(model._meta.label):
            row = model._default_manager.first()
            # Only the owner of the schema writes detached partitions.
            assert row or model is DetachedPartition or model._meta.app_label in {"django_celery_beat", "auth"}, model
            if row is not None:
                name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
                assert staff_client.get(reverse(name, args=[row.pk]), follow=True).status_code == 200


def test_every_model_has_an_admin_page():
    from django.apps import apps

    ours = {
        model for app in ("transactions", "llm_center", "analytics") for model in apps.get_app_config(app).get_models()
    }
    # The admin does not support its two-column key; the dashboards show it.
    ours.remove(LlmAnalyticsSummary)
    ours -= {AmortizationReversal, JournalReversal}  # shown with their entries
    assert ours - set(admin.site._registry) == set()


def test_history_is_read_only(staff_client, subtests):
    _fill(0)
    for model, page in admin.site._registry.items():
        if isinstance(page, HistoryAdmin) and model is not DetachedPartition:
            with subtests.test(model._meta.label):
                row: Any = model._default_manager.first()
                name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
                assert staff_client.post(reverse(f"{name}_delete", args=[row.pk])).status_code == 403
                assert staff_client.get(reverse(f"{name}_add")).status_code == 403
                reply = staff_client.post(reverse(f"{name}_change", args=[row.pk]), {"ticker": "HACK"})
                assert reply.status_code in {403, 302}
                assert model._default_manager.filter(pk=row.pk).exists()


def test_pages_show_each_transaction_once_while_rows_are_added(staff_client):
    user = make_user()
    for number in range(120):
        make_transaction(user, f"SHOP {number}")
    address = reverse("admin:transactions_transaction_changelist")
    for query in ("", f"?user__id__exact={user.pk}"):
        seen: list[int] = []
        url = address + query
        pages = 0
        while url:
            changelist = staff_client.get(url).context_data["cl"]
            seen += [row.pk for row in changelist.result_list]
            url = address + changelist.next_url if changelist.next_url else ""
            pages += 1
            make_transaction(user, "LATE", date=timezone.now())
        ids = list(Transaction.objects.exclude(merchant="LATE").values_list("pk", flat=True))
        assert pages == 3
        assert sorted(set(seen) & set(ids)) == sorted(ids)
        assert len(seen) == len(set(seen))
        Transaction.objects.filter(merchant="LATE").delete()


def test_pages_work_backwards(staff_client):
    for number in range(120):
        make_merchant(
            f"SHOP {number}",
            None,
            "proposed",
            waiting_amount=Decimal(number % 7),
            waiting_count=1,
            confidence=Decimal(number % 3) / 10,
        )
    address = reverse("admin:llm_center_reviewmerchant_changelist")
    forward, url = [], address
    while url:
        changelist = staff_client.get(url).context_data["cl"]
        forward.append([row.pk for row in changelist.result_list])
        last, url = changelist, address + changelist.next_url if changelist.next_url else ""
    assert [len(page) for page in forward] == [25, 25, 25, 25, 20]
    expected = Merchant.objects.order_by("-review_priority", "id").values_list("pk", flat=True)
    assert [pk for page in forward for pk in page] == list(expected)
    backward = [forward[-1]]
    while last.previous_url:
        last = staff_client.get(address + last.previous_url).context_data["cl"]
        backward.append([row.pk for row in last.result_list])
    assert backward == forward[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "[]", "[1,2,3]", '["x"]', "[null]", '{"a":1}', "[[1]]", "[1e400]"])
def test_an_invalid_cursor_is_not_an_error(staff_client, cursor):
    make_transaction(make_user())
    reply = staff_client.get(reverse("admin:transactions_transaction_changelist"), {"after": cursor}, follow=True)
    assert reply.status_code == 200


def test_the_schedule_is_shown(staff_client):
    assert PeriodicTask.objects.filter(task="process_llm_queue").exists()
    assert b"process_llm_queue" in staff_client.get(reverse("admin:django_celery_beat_periodictask_changelist")).content


def test_a_saved_company_is_marked_as_edited(staff_client):
    company = make_company("SBUX")
    reply = staff_client.post(
        reverse("admin:transactions_company_change", args=[company.pk]),
        {"ticker": "SBUX", "name": "Starbucks", "exchange": "Nasdaq", "cik": "", "aliases": "[]", "is_listed": "on"},
    )
    assert reply.status_code == 302
    company.refresh_from_db()
    assert (company.name, company.edited) == ("Starbucks", True)


def test_customers_cannot_open_the_admin():
    client = Client()
    client.force_login(make_user())
    assert client.get(reverse("admin:index")).status_code == 302
    assert client.get(reverse("admin:llm_center_reviewmerchant_companies"), {"q": "s"}).status_code == 302
