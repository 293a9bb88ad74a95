"""Rows that a migration writes once. The admin owns them afterwards, so an existing row is left alone."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db.migrations.operations import RunPython

_CRON_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def seed_schedule(tasks: Mapping[str, tuple[str | int, dict[str, Any]]]) -> RunPython:
    """Return the operation that schedules tasks in django-celery-beat, and its reverse.

    Args:
        tasks: name → (cron line in UTC, or seconds between two runs; more fields of `PeriodicTask`).
    """

    def forwards(apps: Any, schema_editor: Any) -> None:
        schedules = {"crontab": apps.get_model("django_celery_beat", "CrontabSchedule")}
        schedules["interval"] = apps.get_model("django_celery_beat", "IntervalSchedule")
        for name, (when, fields) in tasks.items():
            if isinstance(when, int):
                schedule = {"interval": schedules["interval"].objects.get_or_create(every=when, period="seconds")[0]}
            else:
                cron = dict(zip(_CRON_FIELDS, when.split(), strict=True)) | {"timezone": "UTC"}
                schedule = {"crontab": schedules["crontab"].objects.get_or_create(**cron)[0]}
            defaults = {"task": name} | schedule | fields
            if "kwargs" in defaults:
                defaults["kwargs"] = json.dumps(defaults["kwargs"])
            apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(name=name, defaults=defaults)

    def backwards(apps: Any, schema_editor: Any) -> None:
        apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=tasks).delete()

    return RunPython(forwards, backwards)


def seed_roles(roles: Mapping[str, Iterable[str] | None]) -> RunPython:
    """Return the operation that adds permissions to groups, which it creates where they are missing.

    Args:
        roles: group → permissions as `app.codename`; None for every permission there is.
    """

    def forwards(apps: Any, schema_editor: Any) -> None:
        for config in installed_apps.get_app_configs():  # Django creates permissions only after all migrations.
            create_permissions(config, verbosity=0, using=schema_editor.connection.alias)
        known = {
            f"{permission.content_type.app_label}.{permission.codename}": permission
            for permission in apps.get_model("auth", "Permission").objects.select_related("content_type")
        }
        for name, permissions in roles.items():
            group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
            group.permissions.add(
                *(known[permission] for permission in (known if permissions is None else permissions))
            )

    return RunPython(forwards, RunPython.noop)
