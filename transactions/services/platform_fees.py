"""The platform fee by day: a change of the settings applies from a later day on, with notice to customers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from transactions.cache import invalidate_customers
from transactions.live_settings import MAX_FEE_SHARE, PLATFORM_FEE
from transactions.models import BackgroundTask, PlatformFee, Setting, User
from transactions.services.background_tasks import create_task, send_task
from transactions.sql import load_sql

# The settings that a new fee is made of.
FEE_SETTINGS = (PLATFORM_FEE.key, MAX_FEE_SHARE.key)
# Customers whom one statement notifies.
_BATCH = 10_000


def fee_on(moment: datetime) -> PlatformFee:
    """Return the fee in force at this time."""
    return PlatformFee.objects.filter(first_day__lte=moment.astimezone(UTC).date()).latest("first_day")


@transaction.atomic
def announce_fee(*, actor: User | None, from_today: bool = False) -> PlatformFee | None:
    """Announce the fee of the settings if it differs from the last one; return the new fee, or None.

    It applies from tomorrow (UTC) on, or from the day after the last announced one: customers were notified of that
    one, so it is not taken back.

    Args:
        from_today: it applies from today on and customers are not notified, because they have paid it already.

    Raises:
        SettingError: a setting is invalid.
    """
    list(Setting.objects.select_for_update().filter(key__in=FEE_SETTINGS).order_by("key"))  # one at a time
    last = PlatformFee.objects.latest("first_day")
    fee, max_share = PLATFORM_FEE.get(), MAX_FEE_SHARE.get()
    if (fee, max_share) == (last.fee, last.max_share):
        return None
    today = timezone.now().astimezone(UTC).date()
    first_day = max(today + timedelta(days=not from_today), last.first_day + timedelta(days=1))
    announced = PlatformFee.objects.create(first_day=first_day, fee=fee, max_share=max_share, set_by=actor)
    if from_today:
        return announced
    send_task(task=create_task(name="announce_platform_fee", user=actor, arguments={"fee": announced.pk}))
    return announced


def send_fee_notices(*, task: BackgroundTask, on_progress: Callable[[int], None]) -> None:
    """Notify every active customer of an announced fee. A second run notifies only those whom the first did not reach.

    Args:
        on_progress: called after each batch with the number of customers notified by this run.
    """
    fee = PlatformFee.objects.get(pk=task.arguments["fee"])
    values: dict[str, Any] = {
        "title": f"The platform fee changes on {fee.first_day:%B} {fee.first_day.day}, {fee.first_day.year}",
        "message": f"From {fee.first_day} on (UTC), each purchase that invests costs ${fee.fee:.2f}, but at most "
        f"{(fee.max_share * 100).normalize():f}% of its round-up. Earlier purchases keep their fee.",
        "since": task.created_at,
        "limit": _BATCH,
    }
    after, sent = 0, 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(load_sql("notify_customers"), values | {"after": after, "now": timezone.now()})
            last, user_ids = cursor.fetchone()
        if last is None:
            return
        invalidate_customers(user_ids)
        after, sent = last, sent + len(user_ids)
        task.progress = sent
        on_progress(sent)
