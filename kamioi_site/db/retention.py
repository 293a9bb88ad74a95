"""How long rows are kept, and the deletion of those that have expired.

Each app declares its tables in its `retention.py`, the tables of libraries are declared here. A table is **kept**, with
the reason; **removed**, with the task or service that does it; or **expired**: `delete_expired_rows` deletes its old
rows every night. A test compares the declarations with the models and with the table in `docs/operations.md`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from django.contrib.sessions.models import Session
from django.db.models import Model, Q

from kamioi_site.db.distribution import APPS

logger = logging.getLogger(__name__)

# Rows deleted in one transaction.
_BATCH: Final = 5_000


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """The rows of a model that are deleted some days after the time in a column.

    Args:
        by_id: rows are stored in the order of this time, so the primary key finds them; otherwise an index does that
            starts with the column.
        only: further condition.
    """

    model: type[Model]
    column: str
    days: int
    by_id: bool = False
    only: Q = field(default_factory=Q)


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Tables that are kept (table → why), removed by something else (table → by what), and that expire."""

    kept: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    expired: Sequence[Expiry] = ()


LIBRARIES: Final = Retention(
    kept={
        **dict.fromkeys(("auth_group", "auth_group_permissions", "auth_permission", "django_content_type"), "roles"),
        "django_admin_log": "who changed what in the admin",
        **dict.fromkeys(
            (
                "django_celery_beat_clockedschedule",
                "django_celery_beat_crontabschedule",
                "django_celery_beat_intervalschedule",
                "django_celery_beat_periodictask",
                "django_celery_beat_periodictasks",
                "django_celery_beat_solarschedule",
            ),
            "the schedule",
        ),
        **dict.fromkeys(
            ("waffle_flag", "waffle_flag_groups", "waffle_flag_users", "waffle_sample", "waffle_switch"), "flags"
        ),
        **dict.fromkeys(
            ("otp_static_staticdevice", "otp_static_statictoken", "otp_totp_totpdevice"),
            "with the user, until the second factor is removed",
        ),
        "axes_accessfailurelog": "not written",
        "axes_accesslog": "not written",
    },
    removed=dict.fromkeys(
        ("axes_accessattempt", "axes_accessattemptexpiration"),
        "by the next failed log-in after `LOGIN_COOL_OFF_MINUTES`",
    ),
    expired=[Expiry(model=Session, column="expire_date", days=0)],
)


def retentions() -> list[Retention]:
    """Return the declarations of the libraries and of all apps."""
    modules = [import_module(f"{app}.retention") for app in APPS if find_spec(f"{app}.retention")]
    return [LIBRARIES, *(module.RETENTION for module in modules)]


def delete_expired_rows(*, now: datetime | None = None) -> dict[str, int]:
    """Delete what has expired, in short transactions. Returns the number of rows by table."""
    now = now or datetime.now(UTC)
    deleted = dict[str, int]()
    for expiry in (expiry for retention in retentions() for expiry in retention.expired):
        if count := _delete(expiry, now):
            deleted[expiry.model._meta.db_table] = count
    return deleted


def _delete(expiry: Expiry, now: datetime) -> int:
    limit: Any = now - timedelta(days=expiry.days)
    column, model, total = expiry.column, expiry.model._base_manager, 0
    if expiry.by_id:
        column, limit = "id", _first_id_since(expiry.model, column, limit)
    rows = model.filter(expiry.only, **{f"{column}__lt": limit}).order_by(column).values_list(column, "pk")
    page = rows[:_BATCH]
    while batch := list(page):
        total += model.filter(pk__in=[pk for _, pk in batch]).delete()[0]
        page = rows.filter(**{f"{column}__gte": batch[-1][0]})[:_BATCH]
    return total


def _first_id_since(model: type[Model], column: str, moment: datetime) -> int:
    """Return the first id at or after this time; if there is none, the one after the last."""
    ids = model._base_manager.order_by("pk").values_list("pk", flat=True)
    first: int | None = ids.filter(**{f"{column}__gte": moment}).first()
    last: int | None = ids.last()
    return first if first is not None else (last or 0) + 1
