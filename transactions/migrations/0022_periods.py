"""Closed periods, and the owner's function that refuses postings into them."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles
from kamioi_site.db.sql_migrations import RunSQLFile

PERMISSIONS = ("transactions.view_periodclosing", "transactions.close_period", "transactions.reopen_period")


class Migration(migrations.Migration):
    dependencies = [("transactions", "0021_decisions")]

    operations = [
        migrations.CreateModel(
            name="PeriodClosing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField(help_text="Its first day.")),
                ("rows", models.BigIntegerField(help_text="Ledger rows of the month.", null=True)),
                (
                    "amount",
                    models.DecimalField(decimal_places=2, help_text="Their sum in dollars.", max_digits=20, null=True),
                ),
                ("closed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("reopening_reason", models.CharField(blank=True, max_length=500)),
                ("reopened_at", models.DateTimeField(blank=True, null=True)),
                (
                    "closed_by",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty when closed by the command.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "reopened_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="reopening approved by",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="reopening requested by",
                    ),
                ),
            ],
            options={
                "verbose_name": "closed period",
                "db_table": "period_closings",
                "permissions": [
                    ("close_period", "Can close periods"),
                    ("reopen_period", "Can request and approve the reopening of periods"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("reopened_at", None)), fields=("month",), name="period_closings_closed_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("month__day", 1)), name="period_closings_first_of_month"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reopening_reason", ""), ("requested_by", None)),
                            models.Q(
                                ("requested_by__isnull", False), models.Q(("reopening_reason", ""), _negated=True)
                            ),
                            _connector="OR",
                        ),
                        name="period_closings_request_has_reason",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reopened_at", None), ("reopened_by", None)),
                            models.Q(
                                ("reopened_at__isnull", False),
                                ("reopened_by__isnull", False),
                                ("requested_by__isnull", False),
                                models.Q(("reopened_by", models.F("requested_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="period_closings_reopened_by_two_persons",
                    ),
                ],
            },
        ),
        RunSQLFile(__file__, "0022_periods.sql"),
        seed_roles(dict.fromkeys(("admin", "finance"), PERMISSIONS)),
    ]
