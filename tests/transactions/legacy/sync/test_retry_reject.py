"""Rejected rows are corrected and retried in the admin."""

import pytest
from django.urls import reverse

from tests.factories import make_staff
from transactions.legacy.validate.validation import validate
from transactions.models import MigrationReject, Transaction

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def test_a_rejected_row_is_corrected_in_the_admin(copied, legacy, client):
    client.force_login(make_staff("chief@kamioi.test"))
    reject = MigrationReject.objects.get(table_name="transactions", legacy_id="13")
    address = reverse("admin:transactions_migrationreject_change", args=[reject.pk])
    page = client.get(address)
    assert b"twelve" in page.content
    wrong = client.post(
        address, {"row": '{"user_id": 1, "date": "2025-03-04", "merchant": "M", "amount": "thirteen"}'}, follow=True
    )
    assert b"Still rejected: no readable amount" in wrong.content
    assert not Transaction.objects.filter(pk=13).exists()
    good = (
        '{"user_id": 1, "date": "2025-03-04", "merchant": "M", "amount": "12.00", "total_debit": 12, '
        '"status": "completed"}'
    )
    done = client.post(address, {"row": good}, follow=True)
    assert b"was migrated" in done.content
    assert Transaction.objects.get(pk=13).amount == 12
    reject.refresh_from_db()
    assert reject.resolved_by.email == "chief@kamioi.test"
    assert validate(legacy, samples=0).clean
