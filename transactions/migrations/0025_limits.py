"""Limits of what is set aside for a customer, and prices every five minutes.

Stop the workers of the queue `transactions` before this migration: an earlier release books without `receivables`.
"""

from decimal import Decimal
from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.indexes import AddIndexByPartition, NamedIndex
from kamioi_site.db.seed import seed_roles
from kamioi_site.db.sql_migrations import RunSQLFile


def refresh_prices_more_often(apps: Any, schema_editor: Any) -> None:
    """Change the schedule unless staff have."""
    cron = dict.fromkeys(("hour", "day_of_week", "day_of_month", "month_of_year"), "*") | {"timezone": "UTC"}
    every_five, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(minute="*/5", **cron)
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects
    tasks.filter(name="refresh_prices", crontab__minute="*/15", crontab__hour="*").update(
        crontab=every_five, expire_seconds=300
    )


class Migration(migrations.Migration):
    atomic = False  # the index is built while the table is in use

    dependencies = [("transactions", "0024_retention")]

    operations = [
        migrations.CreateModel(
            name="Receivable",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "part",
                    models.CharField(
                        choices=[("booked", "booked by purchases"), ("collected", "Collected")], max_length=10
                    ),
                ),
                (
                    "amount",
                    models.DecimalField(decimal_places=2, help_text="Negative what was collected.", max_digits=14),
                ),
                ("month", models.DateField(help_text="The month of the last booking.", null=True)),
                (
                    "month_amount",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal(0),
                        help_text="Booked in that month, in dollars.",
                        max_digits=14,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="receivables",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "receivables",
                "constraints": [
                    models.UniqueConstraint(fields=("user", "part"), name="receivables_one_per_part"),
                    models.CheckConstraint(
                        condition=models.Q(("part__in", ["booked", "collected"])), name="receivables_part_known"
                    ),
                ],
            },
        ),
        RunSQLFile(__file__, "0025_limits.sql"),
        AddIndexByPartition(
            "transaction",
            NamedIndex(
                fields=["user", "date", "id"],
                name="idx_transactions_over_limit",
                condition=models.Q(
                    status="on_hold",
                    failure_reason__in=[
                        "The limit for the purchases of one day is reached.",
                        "The monthly limit is reached.",
                        "The limit on the balance owed is reached.",
                    ],
                ),
            ),
        ),
        seed_roles({role: ["transactions.view_receivable"] for role in ("admin", "finance")}),
        migrations.RunPython(refresh_prices_more_often, migrations.RunPython.noop),
    ]
