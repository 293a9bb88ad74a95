"""The catalogue in the database, and the directory held against it."""

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from llm_center import matcher
from llm_center.models import CatalogueBrand, MappingDecision
from llm_center.services.brands import import_brands, refresh_catalogue
from llm_center.services.companies import import_companies
from llm_center.services.directory_recheck import recheck_merchant_directory
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import Company, Merchant, Setting, Transaction
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff_client() -> Client:
    """An administrator's browser."""
    client = Client()
    client.force_login(make_staff())
    return client


def test_the_shipped_catalogue_is_imported_and_an_edit_survives_the_next_import():
    import_companies()
    first = import_brands()
    assert first.added == first.read > 5000
    assert first.refused == []
    CatalogueBrand.objects.filter(name="Starbucks").update(owner="Somebody else", edited=True)
    CatalogueBrand.objects.filter(name="Taco Bell").update(owner="Wrong")
    CatalogueBrand.objects.create(name="Made up", reason="private")
    again = import_brands()
    assert (again.added, again.changed, again.removed) == (0, 1, 1)
    assert CatalogueBrand.objects.get(name="Starbucks").owner == "Somebody else"


def test_a_brand_whose_owner_is_delisted_is_refused():
    import_companies()
    Company.objects.filter(ticker="SBUX").update(is_listed=False)
    done = import_brands()
    assert "Starbucks" in done.refused
    assert not CatalogueBrand.objects.filter(ticker="SBUX").exists()


def test_the_matcher_uses_an_edit_without_a_restart():
    make_company("SBUX", name="Starbucks")
    assert matcher.propose("BLUE HERON COFFEE").ticker is None
    CatalogueBrand.objects.create(name="Blue Heron Coffee", ticker="SBUX", owner="Starbucks")
    assert refresh_catalogue()
    assert not refresh_catalogue()
    found = matcher.propose("BLUE HERON COFFEE")
    assert (found.ticker, found.listed) == ("SBUX", True)
    brand = CatalogueBrand.objects.get()
    brand.ticker, brand.reason = "", "private"
    brand.save()
    assert refresh_catalogue()
    assert matcher.propose("BLUE HERON COFFEE").listed is False


def test_brands_are_edited_imported_and_exported_in_the_admin(staff_client):
    make_company("SBUX", name="Starbucks")
    add = reverse("admin:llm_center_cataloguebrand_add")
    data = {
        "name": "Teavana",
        "aliases": '["TEAVANA"]',
        "owner": "Starbucks",
        "ticker": "sbux",
        "reason": "",
        "category": "shop/tea",
        "source": "staff",
    }
    assert b"is not a listed company" in staff_client.post(add, data | {"ticker": "NOPE"}).content
    assert b"a reason why it has none" in staff_client.post(add, data | {"ticker": ""}).content
    assert staff_client.post(add, data).status_code == 302
    brand = CatalogueBrand.objects.get()
    assert (brand.ticker, brand.aliases, brand.edited) == ("SBUX", ["TEAVANA"], True)
    exported = staff_client.post(
        reverse("admin:llm_center_cataloguebrand_export"),
        {
            "format": "0",
            "resource": "0",
            **{
                f"brandresource_{name}": "on"
                for name in ("name", "aliases", "owner", "ticker", "reason", "category", "source")
            },
        },
    )
    assert exported.status_code == 200
    assert "Teavana,TEAVANA,Starbucks,SBUX,,shop/tea,staff" in exported.content.decode()


def test_a_setting_that_cannot_be_read_is_refused_and_a_change_is_in_the_audit_trail(staff_client):
    setting = Setting.objects.get(key="confidence_threshold")
    page = reverse("admin:transactions_setting_change", args=[setting.pk])
    assert b"from 0.5 to 1" in staff_client.post(page, {"value": "95", "description": ""}).content
    assert staff_client.post(page, {"value": "0.95", "description": ""}).status_code == 302
    trail = staff_client.get(reverse("admin:admin_logentry_changelist")).content.decode()
    assert "confidence_threshold: &#x27;0.90&#x27; → &#x27;0.95&#x27;" in trail


# --- The directory ----------------------------------------------------------------------------------------------
@pytest.fixture
def old_approvals() -> None:
    """What substring rules once approved."""
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
        make_merchant(key, ticker, source="legacy")
    make_merchant("SUBWAY TILES", "SBUX", source="admin")


def test_contradictions_stop_investing_and_go_to_review(old_approvals):
    done = recheck_merchant_directory()
    stopped = set(Merchant.objects.exclude(status="approved").values_list("merchant_key", flat=True))
    assert stopped == {"SUBWAY", "MATTRESS", "DELTA DENTAL", "TARGETED FITNESS", "RITE AID"}
    assert (done.checked, done.stopped, done.unlisted) == (9, 5, 1)
    subway = Merchant.objects.get(merchant_key="SUBWAY")
    assert subway.status == "proposed"
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


def test_a_dry_run_only_says_what_it_would_do(old_approvals, capsys):
    call_command("recheck_directory", dry_run=True)
    said = capsys.readouterr().out
    assert "SUBWAY → SBUX" in said
    assert "Nothing was changed." in said
    assert Merchant.objects.exclude(status="approved").count() == 0


def test_a_person_s_decision_stays(old_approvals):
    recheck_merchant_directory()
    assert Merchant.objects.get(merchant_key="SUBWAY TILES").ticker == "SBUX"
