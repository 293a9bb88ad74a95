"""The schedule of the recurring tasks, written once into django-celery-beat's tables; the admin owns it afterwards."""

from django.db import migrations

# task → (minute, hour, day of month); UTC.
SCHEDULE = {
    "maintain_partitions": ("20", "2", "*"),
    "execute_queued_orders": ("*", "*", "*"),
    "sweep_stuck": ("*", "*", "*"),
}


def write_schedule(apps, schema_editor):
    crontabs = apps.get_model("django_celery_beat", "CrontabSchedule")
    tasks = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, (minute, hour, day) in SCHEDULE.items():
        crontab, _ = crontabs.objects.get_or_create(
            minute=minute, hour=hour, day_of_month=day, day_of_week="*", month_of_year="*", timezone="UTC"
        )
        # A message that nobody took by the next round is worthless: the next one does the same.
        tasks.objects.get_or_create(name=name, defaults={"task": name, "crontab": crontab, "expire_seconds": 3600})


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=SCHEDULE).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("transactions", "0002_money_and_chart"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(write_schedule, remove_schedule)]
