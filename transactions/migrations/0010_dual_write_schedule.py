"""The schedule of dual-write; `migrate_from_sqlite cutover` and `dual-write on` switch it on."""

from django.db import migrations


def write_schedule(apps, schema_editor):
    interval, _ = apps.get_model("django_celery_beat", "IntervalSchedule").objects.get_or_create(
        every=5, period="seconds"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="legacy_dual_write",
        defaults={"task": "legacy_dual_write", "interval": interval, "expire_seconds": 30, "enabled": False},
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="legacy_dual_write").delete()


class Migration(migrations.Migration):
    dependencies = [("transactions", "0009_mended_rejects")]

    operations = [migrations.RunPython(write_schedule, remove_schedule)]
