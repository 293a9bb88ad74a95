"""The menu and the headings of pages use the same names."""

import re

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from kamioi_site.admin.navigation import sidebar
from tests.factories import make_company, make_staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(make_staff())
    return client


def _path(html: str) -> list[str]:
    """Return the levels of the heading."""
    heading = re.search(r"<h1.*?</h1>", html, re.DOTALL)
    assert heading is not None
    return re.findall(r"tracking-tight\">([^<]*)<", heading[0])


def test_every_list_has_the_name_of_its_menu_entry(client):
    request = RequestFactory().get("/")
    request.user = make_staff()
    for section in sidebar(request):
        for item in section["items"]:
            page = client.get(item["link"])
            assert page.status_code == 200
            if "changelist" not in page.resolver_match.url_name:
                continue
            html = page.content.decode()
            path = [section["title"], item["title"]] if section.get("title") else [item["title"]]
            assert _path(html) == path
            title = re.search(r"<title>(.*?)</title>", html, re.DOTALL)
            assert title is not None
            assert title[1].strip() == f"{item['title']} | Kamioi"


def test_the_page_of_a_row_and_an_action_are_below_their_list(client):
    company = make_company("SBUX")
    cases = {
        reverse("admin:transactions_company_change", args=[company.pk]): ["LLM Center", "Companies", "SBUX"],
        reverse("admin:transactions_statementimport_upload"): ["Customers", "Statements", "Upload a bank statement"],
        reverse("admin:llm_center_llmdataasset_amortize"): ["Books", "Data assets", "Run amortization"],
        reverse("admin:llm_center_reviewmerchant_bulk"): ["Review queue", "Bulk decision"],
    }
    assert {address: _path(client.get(address).content.decode()) for address in cases} == cases


def test_a_list_outside_the_menu_has_the_name_of_its_model(client):
    html = client.get(reverse("admin:llm_center_assetevent_changelist")).content.decode()
    assert _path(html) == ["Asset events"]
