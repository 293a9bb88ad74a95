"""`refresh_prices` every quarter of an hour; the admin owns the schedule afterwards."""

from django.db import migrations


def write_schedule(apps, schema_editor):
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="*/15", hour="*", day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="refresh_prices", defaults={"task": "refresh_prices", "crontab": crontab, "expire_seconds": 900}
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="refresh_prices").delete()


class Migration(migrations.Migration):
    dependencies = [("transactions", "0005_proposals_and_edits")]

    operations = [migrations.RunPython(write_schedule, remove_schedule)]
