"""The brand catalogue in the database, and its use by the matcher and the admin."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from llm_center.models import CatalogueBrand
from llm_center.services.brands import import_brands, refresh_catalogue
from llm_center.services.companies import import_companies
from llm_center.services.matching import propose_owner
from tests.factories import make_company, make_staff
from transactions.models import Company, Setting

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff_client() -> Client:
    client = Client()
    client.force_login(make_staff())
    return client


def test_an_edited_brand_survives_the_next_import():
    import_companies()
    first = import_brands()
    assert first.added == first.read > 5000
    assert first.refused == []
    CatalogueBrand.objects.filter(name="Starbucks").update(owner="Another owner", edited=True)
    CatalogueBrand.objects.filter(name="Taco Bell").update(owner="Wrong")
    CatalogueBrand.objects.create(name="Made up", reason="private")
    again = import_brands()
    assert (again.added, again.changed, again.removed) == (0, 1, 1)
    assert CatalogueBrand.objects.get(name="Starbucks").owner == "Another owner"


def test_a_brand_whose_owner_is_delisted_is_refused():
    import_companies()
    Company.objects.filter(ticker="SBUX").update(is_listed=False)
    done = import_brands()
    assert "Starbucks" in done.refused
    assert not CatalogueBrand.objects.filter(ticker="SBUX").exists()


def test_the_matcher_uses_an_edit_without_a_restart():
    make_company("SBUX", name="Starbucks")
    assert propose_owner("BLUE HERON COFFEE").ticker is None
    CatalogueBrand.objects.create(name="Blue Heron Coffee", ticker="SBUX", owner="Starbucks")
    assert refresh_catalogue()
    assert not refresh_catalogue()
    proposal = propose_owner("BLUE HERON COFFEE")
    assert (proposal.ticker, proposal.listed) == ("SBUX", True)
    brand = CatalogueBrand.objects.get()
    brand.ticker, brand.reason = "", "private"
    brand.save()
    assert refresh_catalogue()
    assert propose_owner("BLUE HERON COFFEE").listed is False
    CatalogueBrand.objects.filter(pk=brand.pk).update(reason="unknown", updated_at=timezone.now())
    assert propose_owner("BLUE HERON COFFEE").listed is None  # proposals refresh the catalogue themselves


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


def test_an_invalid_setting_is_refused_and_a_change_is_in_the_audit_trail(staff_client):
    setting = Setting.objects.get(key="confidence_threshold")
    page = reverse("admin:transactions_setting_change", args=[setting.pk])
    assert b"from 0.5 to 1" in staff_client.post(page, {"value": "95", "description": ""}).content
    assert staff_client.post(page, {"value": "0.95", "description": ""}).status_code == 302
    trail = staff_client.get(reverse("admin:admin_logentry_changelist")).content.decode()
    assert "confidence_threshold: &#x27;0.90&#x27; → &#x27;0.95&#x27;" in trail
