"""Every table is kept, removed by something, or expires; and what expires is deleted."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from kamioi_site.db import retention
from kamioi_site.tasks import delete_expired_rows
from tests.factories import make_company, make_price, make_user
from transactions.models import ApiToken, BackgroundTask, Notification, StockPrice

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)


def declared() -> list[str]:
    return [
        table
        for part in retention.retentions()
        for table in (*part.kept, *part.removed, *(expiry.model._meta.db_table for expiry in part.expired))
    ]


def test_every_model_is_declared_once() -> None:
    tables = {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    }
    assert sorted(declared()) == sorted(tables)


def test_the_documentation_lists_every_table() -> None:
    text = Path(settings.BASE_DIR, "docs", "operations.md").read_text()
    section = text.partition("## Retention\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([a-z_]+)`", section)) >= set(declared())


def test_what_expires_is_found_by_an_index() -> None:
    for part in retention.retentions():
        for expiry in part.expired:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
                    "WHERE indrelid = %s::regclass AND attname = %s",
                    [expiry.model._meta.db_table, "id" if expiry.by_id else expiry.column],
                )
                assert cursor.rowcount, expiry


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)


def test_notifications_expire_after_a_year() -> None:
    user = make_user()
    for days in (800, 500, 400, 370, 366, 364, 1):
        Notification.objects.create(user=user, title=f"{days}", created_at=NOW - timedelta(days=days))
    assert delete_expired_rows() == {"notifications": 5}
    assert set(Notification.objects.values_list("title", flat=True)) == {"364", "1"}
    assert delete_expired_rows() == {}


def test_everything_may_have_expired() -> None:
    Notification.objects.create(user=make_user(), title="old", created_at=NOW - timedelta(days=500))
    assert delete_expired_rows() == {"notifications": 1}


def test_tokens_and_sessions_expire() -> None:
    user = make_user()
    for days, lifetime in ((60, 14), (60, 365), (20, 14)):
        token, _ = ApiToken.issue(user=user)
        token.created_at = NOW - timedelta(days=days)
        token.expires_at = token.created_at + timedelta(days=lifetime)
        token.save()
    for key, hours in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=NOW + timedelta(hours=hours))
    assert delete_expired_rows() == {"api_tokens": 1, "django_session": 1}


def test_finished_tasks_expire_unless_something_refers_to_them() -> None:
    for name, status in (
        ("verify_ledger", "completed"),
        ("verify_ledger", "running"),
        ("make_report", "completed"),
        ("erase_person", "completed"),
    ):
        BackgroundTask.objects.create(name=name, status=status, created_at=NOW - timedelta(days=366))
    BackgroundTask.objects.create(name="verify_ledger", status="completed")
    assert delete_expired_rows() == {"background_tasks": 1}


def test_the_last_quote_of_an_old_day_stays() -> None:
    make_company("SBUX", price=None)
    noon = (NOW - timedelta(days=500)).replace(hour=12)
    for back, price in (
        (noon - timedelta(hours=2), "1"),
        (noon - timedelta(hours=1), "2"),
        (noon, "3"),
        (noon + timedelta(days=1), "4"),
        (NOW - timedelta(hours=2), "5"),
        (NOW - timedelta(hours=1), "6"),
    ):
        make_price("SBUX", price, age=timezone.now() - back)
    assert delete_expired_rows() == {"stock_prices": 2}
    assert sorted(StockPrice.objects.values_list("price", flat=True)) == [3, 4, 5, 6]
