"""`process_llm_queue` every five minutes; the admin owns the schedule afterwards."""

from django.db import migrations


def write_schedule(apps, schema_editor):
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="*/5", hour="*", day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="process_llm_queue", defaults={"task": "process_llm_queue", "crontab": crontab, "expire_seconds": 300}
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="process_llm_queue").delete()


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0002_partitions"), ("transactions", "0006_refresh_prices_schedule")]

    operations = [migrations.RunPython(write_schedule, remove_schedule)]
