"""Who may decide a merchant: one reviewer at a time, two on large amounts, and never on their own purchases."""

import re
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.live_settings import SettingError
from llm_center.errors import MerchantChangedError, OwnPurchasesError
from llm_center.models import MappingDecision, PendingDecision
from llm_center.services.review.bulk import run_bulk_decision
from llm_center.services.review.decisions import Action, decide_merchant
from llm_center.services.review.queue import QueueFilter
from llm_center.sql import load_sql as llm_center_sql
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from tests.llm_center.services.review.helpers import decide
from tests.workers import wait_until
from transactions.models import Merchant, Setting, Transaction
from transactions.sql import load_sql as transactions_sql

pytestmark = pytest.mark.django_db


def test_large_amounts_need_two_reviewers_who_agree(reviewer, customers):
    Setting.objects.filter(key="four_eyes_limit").update(value="5")
    first = decide(reviewer, Action.CORRECT, "DNUT")
    assert first.decision is None
    assert first.pending is not None
    assert Transaction.objects.filter(status="needs_review").count() == 6
    assert decide(reviewer, Action.CORRECT, "DNUT").decision is None, "one reviewer cannot approve twice"
    assert decide(make_staff(), Action.CORRECT, "SBUX").decision is None, "a different decision is not an approval"
    result = decide(reviewer, Action.CORRECT, "SBUX")
    assert result.decision
    assert result.decision.first_reviewer not in {None, reviewer}
    assert not PendingDecision.objects.exists()
    assert Merchant.objects.get(merchant_key="STARBUKS").ticker == "SBUX"


def test_small_amounts_need_one_reviewer(reviewer, customers):
    Setting.objects.filter(key="four_eyes_limit").update(value="1000")
    assert decide(reviewer, Action.NOT_LISTED).decision


@pytest.mark.parametrize("value", ["lots", "-1", "NaN"])
def test_an_invalid_limit_stops_decisions(reviewer, customers, value):
    Setting.objects.filter(key="four_eyes_limit").update(value=value)
    with pytest.raises(SettingError, match="four_eyes_limit"):
        decide(reviewer, Action.NOT_LISTED)


def _is_waited_for() -> bool:
    """Return whether another connection waits for a lock of this one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("knows_version", [True, False])
def test_of_two_opposite_decisions_at_once_the_second_is_refused(reviewer, customers, knows_version):
    merchant, second, refused = Merchant.objects.get(merchant_key="STARBUKS"), make_staff(), list[str]()
    version = merchant.updated_at if knows_version else None

    def decide_otherwise() -> None:
        try:
            decide_merchant(
                merchant_id=merchant.pk, action=Action.NOT_LISTED, actor=second, expected_updated_at=version
            )
        except MerchantChangedError as error:
            refused.append(str(error))
        finally:
            connection.close()

    thread = threading.Thread(target=decide_otherwise)
    with transaction.atomic():
        decide_merchant(
            merchant_id=merchant.pk, action=Action.CORRECT, ticker="SBUX", actor=reviewer, expected_updated_at=version
        )
        thread.start()
        wait_until("the second decision waits for the first", _is_waited_for)
    thread.join(60)
    assert len(refused) == 1
    assert "was changed by Ruth" in refused[0]
    assert "is now: invests, SBUX. Your decision was not saved." in refused[0]
    merchant.refresh_from_db()
    assert (merchant.ticker, merchant.decided_by) == ("SBUX", reviewer)
    assert MappingDecision.objects.count() == 1


@pytest.mark.parametrize(
    ("status", "ticker", "rejected", "action", "other"),
    [
        ("approved", "SBUX", [], Action.CORRECT, "DNUT"),
        ("approved", "SBUX", [], Action.NOT_LISTED, ""),
        ("approved", "SBUX", [], Action.REJECT, ""),
        ("not_listed", None, [], Action.CORRECT, "SBUX"),
        ("rejected", None, ["SBUX"], Action.CORRECT, "SBUX"),
    ],
)
def test_without_its_version_a_merchant_is_not_decided_otherwise(
    reviewer, customers, status, ticker, rejected, action, other
):
    merchant = make_merchant("SHOP", ticker, status, rejected_tickers=rejected, decided_at=timezone.now())
    with pytest.raises(MerchantChangedError):
        decide_merchant(merchant_id=merchant.pk, action=action, ticker=other, actor=reviewer, expected_updated_at=None)


def test_a_reviewer_does_not_decide_on_their_own_purchases(reviewer, queue):
    """Superusers neither: both reviewers are."""
    make_transaction(reviewer, "SHOP 03", status="needs_review")
    with pytest.raises(OwnPurchasesError, match="Another reviewer"):
        decide(reviewer, Action.NOT_LISTED, key="SHOP 03")
    decided, _, skipped = run_bulk_decision(
        queue_filter=QueueFilter(prefix="shop 0"), action=Action.NOT_LISTED, actor=reviewer, until=timezone.now()
    )
    assert decided == 9
    assert skipped == [f"SHOP 03: {OwnPurchasesError()}"]
    assert decide(make_staff(), Action.NOT_LISTED, key="SHOP 03").decision


@pytest.mark.parametrize(
    ("days_ago", "ticker", "needs_two"), [(1, "DNUT", True), (1, "SBUX", False), (31, "DNUT", False)]
)
def test_recent_purchases_of_an_approved_merchant_count_for_two_reviewers(
    reviewer, days_ago: int, ticker: str, needs_two: bool
) -> None:
    make_company("SBUX", "95.00")
    make_company("DNUT", "7.00")
    make_merchant("SHOP", "SBUX")
    for _ in range(5):
        make_transaction(
            make_user(),
            "SHOP",
            round_up=Decimal(1),
            total_debit=Decimal("5.50"),
            status="awaiting_price",
            ticker="SBUX",
            date=timezone.now() - timedelta(days=days_ago),
        )
    Setting.objects.filter(key="four_eyes_limit").update(value="5")
    assert (decide(reviewer, Action.CORRECT, ticker, key="SHOP").pending is not None) == needs_two


def test_too_many_recent_purchases_to_sum_need_two_reviewers(reviewer, monkeypatch) -> None:
    make_company("SBUX", "95.00")
    make_merchant("SHOP", "SBUX")
    for _ in range(2):
        make_transaction(make_user(), "SHOP", status="awaiting_price", ticker="SBUX")
    Setting.objects.filter(key="four_eyes_limit").update(value="1000")
    monkeypatch.setattr("llm_center.services.review.decisions._MAX_RECENT", 2)
    assert decide(reviewer, Action.NOT_LISTED, key="SHOP").pending


@pytest.mark.parametrize("statement", ["undo_effect", "recent_round_ups"])
def test_the_purchases_of_a_decision_are_found_by_the_index(statement: str) -> None:
    sql = (transactions_sql if statement == "undo_effect" else llm_center_sql)(statement)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + sql, {"merchant_key": "SHOP", "decision": 1, "since": timezone.now(), "limit": 10})
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert re.search(r"Index Cond: \(+merchant_key\)::text = 'SHOP'", plan), plan
    assert "Seq Scan" not in plan
