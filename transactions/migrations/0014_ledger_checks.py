"""Checks of the books: their outcomes, and `verify_ledger` every night; the admin owns the schedule afterwards."""

import django.utils.timezone
from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations, models


def write_schedule(apps, schema_editor):
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="40", hour="3", day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="verify_ledger", defaults={"task": "verify_ledger", "crontab": crontab, "expire_seconds": 12 * 3600}
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="verify_ledger").delete()


def let_roles_see(apps, schema_editor):
    using = schema_editor.connection.alias
    create_permissions(installed.get_app_config("transactions"), verbosity=0, using=using)
    permission = apps.get_model("auth", "Permission").objects.using(using).get(
        content_type__app_label="transactions", codename="view_ledgercheck"
    )
    for group in apps.get_model("auth", "Group").objects.using(using).filter(name__in=["finance", "operator", "admin"]):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("transactions", "0013_transaction_deltas"), ("llm_center", "0012_roles")]

    operations = [
        migrations.CreateModel(
            name="LedgerCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("finished_at", models.DateTimeField()),
                ("differences", models.PositiveIntegerField()),
                ("sample", models.JSONField(blank=True, default=list, help_text="The first of them, in words.")),
            ],
            options={
                "db_table": "ledger_checks",
                "indexes": [models.Index(fields=["-finished_at"], name="idx_ledger_checks_finished")],
            },
        ),
        migrations.RunPython(write_schedule, remove_schedule),
        migrations.RunPython(let_roles_see, migrations.RunPython.noop),
    ]
