"""Journal entries that people write, the daily check of the books, and settings of what staff start themselves."""

from decimal import Decimal

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

SETTINGS = [
    ("queue_processing_enabled", "true", "boolean", "Whether the LLM queue runs by itself every few minutes."),
    (
        "process_selected_max_orders",
        "500",
        "decimal",
        "Orders that staff may send to the market at once (500 at most).",
    ),
    (
        "process_selected_max_amount",
        "10000",
        "decimal",
        "Dollars of round-ups that staff may send to the market at once.",
    ),
]


def write_rows(apps, schema_editor):
    settings = apps.get_model("transactions", "Setting")
    for key, value, kind, description in SETTINGS:
        settings.objects.get_or_create(key=key, defaults={"value": value, "type": kind, "description": description})
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="40", hour="3", day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="check_ledger", defaults={"task": "check_ledger", "crontab": crontab, "expire_seconds": 3600}
    )


def remove_rows(apps, schema_editor):
    apps.get_model("transactions", "Setting").objects.filter(key__in=[row[0] for row in SETTINGS]).delete()
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="check_ledger").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("transactions", "0013_transaction_deltas"),
    ]

    operations = [
        migrations.CreateModel(
            name="JournalEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("entry_date", models.DateField()),
                ("reference", models.CharField(blank=True, max_length=100)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("location", models.CharField(blank=True, max_length=100)),
                ("department", models.CharField(blank=True, max_length=100)),
                ("transaction_type", models.CharField(blank=True, max_length=50)),
                ("vendor_name", models.CharField(blank=True, max_length=200)),
                ("customer_name", models.CharField(blank=True, max_length=200)),
                (
                    "amount",
                    models.DecimalField(decimal_places=2, help_text="Sum of the debits, in dollars.", max_digits=14),
                ),
                ("lines", models.JSONField(help_text="[{account_code, debit, credit, description}], dollars as text.")),
                (
                    "status",
                    models.CharField(
                        choices=[("draft", "Draft"), ("posted", "Posted"), ("reversed", "Reversed")],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("posted_at", models.DateTimeField(blank=True, null=True)),
                ("reversed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"verbose_name_plural": "journal entries", "db_table": "journal_entries"},
        ),
        migrations.AddIndex(
            model_name="backgroundtask",
            index=models.Index(fields=["name", "-created_at"], name="idx_background_tasks_name"),
        ),
        migrations.AddField(
            model_name="journalentry",
            name="created_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="journalentry",
            name="reversed_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="journalentry",
            index=models.Index(fields=["-entry_date", "-id"], name="idx_journal_entries_date"),
        ),
        migrations.AddConstraint(
            model_name="journalentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", Decimal("0"))), name="journal_entries_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="journalentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("posted_at", None), ("reversed_at", None), ("status", "draft")),
                    models.Q(("posted_at__isnull", False), ("reversed_at", None), ("status", "posted")),
                    models.Q(("posted_at__isnull", False), ("reversed_at__isnull", False), ("status", "reversed")),
                    _connector="OR",
                ),
                name="journal_entries_status_fits_times",
            ),
        ),
        migrations.RunPython(write_rows, remove_rows),
    ]
