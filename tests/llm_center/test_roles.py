"""Permissions of the roles that the migration creates, in the API and the admin."""

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from llm_center.models import LlmDataAsset, LlmMapping
from tests.factories import api_client, make_company, make_merchant, make_user

pytestmark = pytest.mark.django_db


def staff_with(role: str):
    user = make_user(f"{role}@kamioi.test", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


PAGES = {
    "the review queue": "admin:llm_center_reviewmerchant_changelist",
    "the ledger": "admin:transactions_ledgertransfer_changelist",
    "background tasks": "admin:transactions_backgroundtask_changelist",
    "migration rejects": "admin:transactions_migrationreject_changelist",
    "users": "admin:transactions_user_changelist",
    "roles": "admin:auth_group_changelist",
    "the monthly run": "admin:llm_center_llmdataasset_amortize",
    "mapping upload": "admin:llm_center_mappingimport_upload",
}
ALLOWED = {
    "reviewer": {"the review queue", "background tasks", "mapping upload"},
    "finance": {"the ledger", "background tasks", "users", "the monthly run"},
    "operator": {"background tasks", "migration rejects", "users"},
    "admin": set(PAGES),
    "customer": set(),
}


@pytest.mark.parametrize("role", ALLOWED)
def test_each_role_sees_its_own_admin_pages(client, role):
    client.force_login(staff_with(role))
    open_pages = {name for name, address in PAGES.items() if client.get(reverse(address)).status_code == 200}
    assert open_pages == ALLOWED[role]


def test_reviewers_decide_and_finance_posts_through_the_api():
    make_company("SBUX")
    make_merchant("STARBUKS", None, "proposed")
    mapping = LlmMapping.objects.create(merchant_name="STARBUKS", merchant_key="STARBUKS", ticker="SBUX", source="llm")
    LlmDataAsset.objects.create(asset_name="Model", asset_type="model")
    approve: tuple = ("post", "/api/admin/llm-center/approve", {"mapping_id": mapping.pk})
    post: tuple = ("post", "/api/admin/llm-assets/monthly-amortization", {})
    read: tuple = ("get", "/api/admin/llm-center/mappings", {})

    def code(role: str, call: tuple) -> int:
        method, path, body = call
        user = make_user(is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        return getattr(api_client(user), method)(path, body, format="json").status_code

    assert [code("reviewer", call) for call in (read, approve, post)] == [200, 200, 403]
    assert [code("finance", call) for call in (read, approve, post)] == [403, 403, 400]  # nothing is due
    assert [code("operator", call) for call in (read, approve, post)] == [403, 403, 403]
    assert [code("customer", call) for call in (read, approve, post)] == [403, 403, 403]


def test_a_role_gives_no_access_without_staff_status(client):
    user = make_user()
    user.groups.add(Group.objects.get(name="admin"))
    client.force_login(user)
    assert client.get(reverse(PAGES["the ledger"])).status_code == 302
    assert api_client(user).get("/api/admin/llm-center/mappings").status_code == 403
