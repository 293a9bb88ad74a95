"""The audit trail: every change and download by staff is recorded, and no row can be changed."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from tests.factories import PASSWORD, api_client, make_staff, make_user
from transactions.models import ApiToken, AuditEvent, Setting

pytestmark = pytest.mark.django_db


def _trail():
    return list(AuditEvent.objects.order_by("id").values_list("kind", "action", "target", "status"))


def test_a_change_in_the_admin_is_recorded(client):
    staff = make_staff()
    client.force_login(staff)
    setting = Setting.objects.first()
    client.post(
        reverse("admin:transactions_setting_change", args=[setting.pk]), {"value": setting.value, "description": "d"}
    )
    kind, action, target, _ = _trail()[-1]
    assert (kind, action) == ("change", "POST admin:transactions_setting_change")
    assert f"object_id={setting.pk}" in target


def test_a_record_has_the_id_of_its_request():
    reply = api_client(make_staff()).post("/api/admin/llm-center/approve", {"mapping_id": 5}, format="json")
    assert AuditEvent.objects.latest("id").request_id == reply["X-Request-ID"]


def test_an_action_on_a_list_is_recorded_with_its_rows(client):
    client.force_login(make_staff())
    token, _ = ApiToken.issue(user=make_user())
    client.post(reverse("admin:transactions_apitoken_changelist"), {"action": "revoke", "_selected_action": [token.pk]})
    assert f"_selected_action=['{token.pk}'] action=['revoke']" in _trail()[-1][2]


def test_a_decision_through_the_api_is_recorded():
    staff = make_staff()
    api_client(staff).post("/api/admin/llm-center/approve", {"mapping_id": 5}, format="json")
    assert (_trail()[-1][0], _trail()[-1][2], _trail()[-1][3]) == ("change", "mapping_id=5", 404)


def test_actions_of_customers_and_reads_are_not_recorded(client):
    api_client(make_user()).post("/api/transactions", {"amount": "4.50", "merchant": "X"}, format="json")
    client.force_login(make_staff())
    before = len(_trail())
    client.get("/admin/")
    assert len(_trail()) == before


def test_successful_and_failed_logins_of_staff_are_recorded(client):
    staff, customer = make_staff(), make_user()
    for email, password in (
        (staff.email, "wrong"),
        (customer.email, "wrong"),
        ("unknown@example.com", "x"),
        (staff.email, PASSWORD),
    ):
        client.post(reverse("admin:login"), {"username": email, "password": password})
    client.post(reverse("admin:logout"))
    kinds = [
        (kind, user) for kind, user in AuditEvent.objects.order_by("id").values_list("kind", "user") if kind != "change"
    ]
    assert kinds == [("log_in_failed", staff.pk), ("log_in", staff.pk), ("log_out", staff.pk)]


@pytest.mark.as_owner
@pytest.mark.parametrize("statement", ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"])
def test_postgresql_rejects_changes_of_the_audit_trail(statement):
    AuditEvent.objects.create(kind="change", action="x")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_download_by_staff_is_recorded(client):
    client.force_login(make_staff())
    assert client.get(reverse("admin:llm_center_llmmapping_export")).status_code == 200
    assert _trail()[-1][:2] == ("download", "GET admin:llm_center_llmmapping_export")
