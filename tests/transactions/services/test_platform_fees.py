"""The platform fee by day: announced before it applies, never changed afterwards."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.utils import timezone

from kamioi_site.live_settings import SettingError
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Notification, PlatformFee, Setting
from transactions.services.platform_fees import announce_fee, fee_on
from transactions.services.processing import process_pending
from transactions.services.settings import save_settings
from transactions.tasks import announce_platform_fee

pytestmark = pytest.mark.django_db


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def test_a_new_fee_applies_from_tomorrow_on() -> None:
    actor = make_staff()
    save_settings(values={"platform_fee": "0.30", "platform_fee_max_share": "0.2"}, actor=actor)
    now = timezone.now()
    before, after = fee_on(now), fee_on(now + timedelta(days=1))
    assert (before.fee, before.max_share) == (Decimal("0.25"), Decimal("0.25"))
    assert (after.fee, after.max_share, after.set_by) == (Decimal("0.30"), Decimal("0.2"), actor)
    assert after.first_day == today() + timedelta(days=1)


def test_an_announced_fee_stays_and_the_next_one_follows_it() -> None:
    actor = make_staff()
    for fee in ("0.30", "0.30", "0.20"):
        save_settings(values={"platform_fee": fee}, actor=actor)
    days = list(PlatformFee.objects.order_by("first_day").values_list("first_day", "fee")[1:])
    assert days == [(today() + timedelta(days=1), Decimal("0.30")), (today() + timedelta(days=2), Decimal("0.20"))]


def test_other_settings_announce_nothing() -> None:
    save_settings(values={"uploads_running": "6"}, actor=make_staff())
    assert PlatformFee.objects.count() == 1


def test_an_invalid_fee_is_not_announced() -> None:
    with pytest.raises(SettingError):
        save_settings(values={"platform_fee_max_share": "1.5"}, actor=make_staff())
    Setting.objects.filter(key="platform_fee").update(value="a quarter")
    with pytest.raises(SettingError):
        announce_fee(actor=None)
    assert PlatformFee.objects.count() == 1


def test_the_fee_of_the_legacy_system_applies_at_once_and_without_notice() -> None:
    Setting.objects.filter(key="platform_fee").update(value="0.40")
    fee = announce_fee(actor=None, from_today=True)
    assert fee is not None
    assert fee_on(timezone.now()) == fee
    assert not BackgroundTask.objects.exists()


def test_every_active_customer_is_notified_once() -> None:
    customers = [make_user(), make_user()]
    make_user(is_active=False)
    actor = make_staff()
    save_settings(values={"platform_fee": "0.30"}, actor=actor)
    task = BackgroundTask.objects.get(name="announce_platform_fee")

    announce_platform_fee(str(task.pk))
    BackgroundTask.objects.filter(pk=task.pk).update(status="queued", finished_at=None)  # as after a killed worker
    announce_platform_fee(str(task.pk))

    notices = Notification.objects.order_by("user_id")
    assert [notice.user_id for notice in notices] == [user.pk for user in customers]
    assert notices[0].title.startswith("The platform fee changes on ")
    assert "$0.30, but at most 25% of its round-up" in notices[0].message


def test_the_database_refuses_changes_and_values_out_of_bounds() -> None:
    for statement in ("UPDATE platform_fees SET fee = 0", "DELETE FROM platform_fees"):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    for fee, share, name in (("-1", "0.25", "not_negative"), ("1", "1.5", "share_in_bounds")):
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            PlatformFee.objects.create(first_day=today(), fee=fee, max_share=share)


def test_a_small_round_up_pays_a_quarter_of_it() -> None:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    row = make_transaction(make_user(round_up_rule="next_dollar"), amount="4.90")
    process_pending()
    row.refresh_from_db()
    assert (row.round_up, row.fee, row.total_debit) == (Decimal("0.10"), Decimal("0.02"), Decimal("5.02"))


def test_fees_are_found_by_the_day_in_utc() -> None:
    PlatformFee.objects.create(first_day=date(2026, 5, 2), fee=1, max_share=1)
    assert fee_on(datetime.fromisoformat("2026-05-01T23:59:59+00:00")).fee == Decimal("0.25")
    assert fee_on(datetime.fromisoformat("2026-05-01T23:30:00-04:00")).fee == 1
