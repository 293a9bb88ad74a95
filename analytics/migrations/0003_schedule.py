"""`calculate_analytics` every hour, and every night with a look at the oldest figures; the admin owns the schedule afterwards."""

import json

from django.db import migrations

# name → (minute, hour, keyword arguments); UTC.
SCHEDULE = {"calculate_analytics": ("0", "*", {}), "recheck_analytics": ("30", "3", {"recheck": 1})}


def write_schedule(apps, schema_editor):
    for name, (minute, hour, kwargs) in SCHEDULE.items():
        crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
            minute=minute, hour=hour, day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
        )
        apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
            name=name,
            defaults={
                "task": "calculate_analytics",
                "crontab": crontab,
                "expire_seconds": 3600,
                "kwargs": json.dumps(kwargs),
                "queue": "analytics",
            },
        )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=SCHEDULE).delete()


class Migration(migrations.Migration):
    dependencies = [("analytics", "0002_counts"), ("django_celery_beat", "0019_alter_periodictasks_options")]

    operations = [migrations.RunPython(write_schedule, remove_schedule)]
