"""Days of the ledger; who may see which dashboard; the count every minute."""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

DASHBOARDS = {
    "reviewer": ("llm_center", "transactions"),
    "finance": ("finance", "transactions"),
    "operator": ("operations", "llm_center", "transactions"),
    "admin": ("llm_center", "transactions", "finance", "operations"),
}


def allow(apps, schema_editor):
    using = schema_editor.connection.alias
    create_permissions(installed.get_app_config("analytics"), verbosity=0, using=using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    for role, names in DASHBOARDS.items():
        group, _ = apps.get_model("auth", "Group").objects.using(using).get_or_create(name=role)
        codenames = [f"view_{name}_dashboard" for name in names]
        group.permissions.add(*permissions.filter(content_type__app_label="analytics", codename__in=codenames))


def write_schedule(apps, schema_editor):
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="*", hour="*", day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="count_ledger", defaults={"task": "count_ledger", "crontab": crontab, "expire_seconds": 300}
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="count_ledger").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0003_schedule"),
        ("llm_center", "0012_roles"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.CreateModel(
            name="LedgerMark",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("counted_to", models.BigIntegerField(help_text="Every booking up to this id is in the days.")),
                (
                    "counted_at",
                    models.DateTimeField(blank=True, help_text="Everything booked before is in the days.", null=True),
                ),
                ("drawn_to", models.BigIntegerField(help_text="The newest id when the mark was set.")),
                (
                    "drawn_before",
                    models.BigIntegerField(help_text="Transactions with smaller numbers may hold smaller ids."),
                ),
                ("drawn_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"db_table": "ledger_marks"},
        ),
        migrations.CreateModel(
            name="LedgerDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("kind", models.CharField(max_length=16)),
                ("debit_account", models.CharField(max_length=10)),
                ("credit_account", models.CharField(max_length=10)),
                ("rows", models.BigIntegerField()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=18)),
            ],
            options={
                "db_table": "ledger_days",
                "permissions": [
                    ("view_llm_center_dashboard", "Can view the dashboard of the LLM Center"),
                    ("view_transactions_dashboard", "Can view the dashboard of transactions"),
                    ("view_finance_dashboard", "Can view the dashboard of finance"),
                    ("view_operations_dashboard", "Can view the dashboard of operations"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("day", "kind", "debit_account", "credit_account"), name="ledger_days_key"
                    )
                ],
            },
        ),
        migrations.RunPython(allow, migrations.RunPython.noop),
        migrations.RunPython(write_schedule, remove_schedule),
    ]
