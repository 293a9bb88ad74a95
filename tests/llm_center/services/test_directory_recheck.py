"""The recheck of old approvals against the catalogue."""

import pytest
from django.core.management import call_command

from llm_center.models import MappingDecision
from llm_center.services.directory_recheck import recheck_merchant_directory
from tests.factories import make_company, make_merchant, make_transaction, make_user
from transactions.models import Merchant, Transaction
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def old_approvals() -> None:
    """Approvals of the legacy system's substring rules."""
    for ticker, name in (
        ("SBUX", "Starbucks Corp"),
        ("T", "AT&T Inc."),
        ("DAL", "Delta Air Lines, Inc."),
        ("TGT", "Target Corp"),
        ("WMT", "Walmart Inc."),
        ("HTZ", "Hertz Global"),
    ):
        make_company(ticker, name=name)
    make_company("RAD", name="Rite Aid", is_listed=False)
    for key, ticker in (
        ("SUBWAY", "SBUX"),
        ("MATTRESS", "T"),
        ("DELTA DENTAL", "DAL"),
        ("TARGETED FITNESS", "TGT"),
        ("RITE AID", "RAD"),
        ("STARBUCKS", "SBUX"),
        ("WALMART NEIGHBORHOOD THING", "WMT"),
        ("TARGET", "TGT"),
        ("HERTZ CAR SALES TAMPA", "HTZ"),
    ):
        make_merchant(key, ticker, source="legacy", decision_id=7)
    make_merchant("SUBWAY TILES", "SBUX", source="admin")


def test_contradictions_stop_investing_and_go_to_review(old_approvals):
    result = recheck_merchant_directory()
    stopped = set(Merchant.objects.exclude(status="approved").values_list("merchant_key", flat=True))
    assert stopped == {"SUBWAY", "MATTRESS", "DELTA DENTAL", "TARGETED FITNESS", "RITE AID"}
    assert (result.checked, result.stopped, result.unlisted) == (9, 5, 1)
    subway = Merchant.objects.get(merchant_key="SUBWAY")
    assert (subway.status, subway.decision_id) == ("proposed", None)
    assert "SBUX" in subway.rejected_tickers
    assert "Was SBUX before" in subway.reason
    assert MappingDecision.objects.filter(automatic=True, action="reject").count() == 5
    make_transaction(make_user(), "SUBWAY")
    make_transaction(make_user(), "STARBUCKS")
    process_pending()
    assert Transaction.objects.get(merchant="SUBWAY").status == "needs_review"
    assert Transaction.objects.get(merchant="STARBUCKS").status == "completed"
    again = recheck_merchant_directory()
    assert (again.checked, again.stopped) == (4, 0)


def test_a_dry_run_changes_nothing(old_approvals, capsys):
    call_command("recheck_directory", dry_run=True)
    output = capsys.readouterr().out
    assert "SUBWAY → SBUX" in output
    assert "Nothing was changed." in output
    assert Merchant.objects.exclude(status="approved").count() == 0


def test_a_reviewer_s_decision_is_kept(old_approvals):
    recheck_merchant_directory()
    assert Merchant.objects.get(merchant_key="SUBWAY TILES").ticker == "SBUX"
