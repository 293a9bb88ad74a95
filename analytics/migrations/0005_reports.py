"""Files of reports; who may have them made; the statements of a month on its 2nd."""

import django.db.models.deletion
import django.utils.timezone
from django.apps import apps as installed
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

ALLOWED = {"finance": ("view_report", "add_report"), "admin": ("view_report", "add_report")}


def allow(apps, schema_editor):
    using = schema_editor.connection.alias
    create_permissions(installed.get_app_config("analytics"), verbosity=0, using=using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    for role, codenames in ALLOWED.items():
        group, _ = apps.get_model("auth", "Group").objects.using(using).get_or_create(name=role)
        group.permissions.add(*permissions.filter(content_type__app_label="analytics", codename__in=codenames))


def write_schedule(apps, schema_editor):
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="30", hour="4", day_of_month="2", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="make_monthly_statements", defaults={"task": "make_monthly_statements", "crontab": crontab}
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="make_monthly_statements").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0004_dashboards"),
        ("llm_center", "0012_roles"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("transactions", "0016_audit_events"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("statement", "customer's statement"),
                            ("finance", "finance month"),
                            ("reconciliation", "Reconciliation"),
                        ],
                        max_length=16,
                    ),
                ),
                ("period", models.DateField(help_text="First day of the month.")),
                ("format", models.CharField(choices=[("pdf", "PDF"), ("csv", "CSV")], max_length=4)),
                ("file", models.FileField(max_length=200, upload_to="")),
                ("size", models.BigIntegerField(help_text="Bytes.")),
                ("sha256", models.CharField(max_length=64, verbose_name="SHA-256")),
                ("rows", models.BigIntegerField(help_text="Transactions, bookings or disagreements in it.")),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("mailed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="transactions.backgroundtask"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Whose statement it is.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "reports",
                "indexes": [models.Index(fields=["user", "-period", "format"], name="idx_reports_user_period")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "period", "user", "format"), name="reports_once", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "statement"), ("user__isnull", False)),
                            models.Q(("kind__in", ["finance", "reconciliation"]), ("user__isnull", True)),
                            _connector="OR",
                        ),
                        name="reports_statement_has_user",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("format__in", ["pdf", "csv"])), name="reports_format_known"
                    ),
                ],
            },
        ),
        migrations.RunPython(allow, migrations.RunPython.noop),
        migrations.RunPython(write_schedule, remove_schedule),
    ]
