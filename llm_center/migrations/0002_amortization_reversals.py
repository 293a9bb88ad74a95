"""Reversals of amortization charges in a table of their own, so that charges are only added."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0001_initial"), ("transactions", "0019_fixed_amounts")]

    operations = [
        migrations.CreateModel(
            name="AmortizationReversal",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="reversal",
                        serialize=False,
                        to="llm_center.amortizationentry",
                    ),
                ),
                ("transfer_id", models.BigIntegerField(help_text="ID of the ledger transfer.", null=True)),
                ("reversed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "reversed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"db_table": "amortization_reversals"},
        ),
        migrations.AddField(
            model_name="amortizationentry",
            name="replaces",
            field=models.OneToOneField(
                blank=True,
                help_text="The reversal of the entry before, of the same asset and month.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="llm_center.amortizationreversal",
            ),
        ),
        migrations.RemoveConstraint(model_name="amortizationentry", name="amortization_entries_once_per_month"),
        RunSQLFile(__file__, "0002_amortization_reversals.sql"),
        migrations.RemoveField(model_name="amortizationentry", name="reversed_at"),
        migrations.RemoveField(model_name="amortizationentry", name="reversed_by"),
        migrations.AddConstraint(
            model_name="amortizationentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("replaces", None)),
                fields=("asset", "period"),
                name="amortization_entries_once_per_month",
            ),
        ),
    ]
