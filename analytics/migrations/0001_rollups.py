"""Rollups, and the views over them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("transactions", "0013_transaction_deltas"),
        ("llm_center", "0013_mapping_deltas"),
    ]

    operations = [
        migrations.CreateModel(
            name="LlmAnalyticsSummary",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "date", "status", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("date", models.DateField()),
                ("status", models.CharField(max_length=10)),
                ("count", models.BigIntegerField()),
                ("avg_confidence", models.DecimalField(decimal_places=4, max_digits=5)),
            ],
            options={"db_table": "llm_analytics_summary", "managed": False},
        ),
        migrations.CreateModel(
            name="RollupPartition",
            fields=[
                ("name", models.CharField(max_length=63, primary_key=True, serialize=False)),
                (
                    "relation",
                    models.BigIntegerField(help_text="Its oid: a table made anew under the name is another one."),
                ),
                (
                    "written",
                    models.BigIntegerField(help_text="Rows inserted, updated and deleted, when last looked at."),
                ),
                ("ahead", models.BigIntegerField(help_text="Writes counted that the statistics do not show yet.")),
                ("verified_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"db_table": "rollup_partitions"},
        ),
        migrations.CreateModel(
            name="MappingDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("status", models.CharField(max_length=10)),
                ("source", models.CharField(max_length=10)),
                ("automatic", models.BooleanField()),
                ("rows", models.BigIntegerField()),
                ("confidence", models.DecimalField(decimal_places=4, help_text="Sum over the rows.", max_digits=20)),
            ],
            options={
                "db_table": "mapping_days",
                "constraints": [
                    models.UniqueConstraint(fields=("day", "status", "source", "automatic"), name="mapping_days_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="TransactionDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("status", models.CharField(max_length=16)),
                ("ticker", models.CharField(blank=True, help_text="Empty where there is none.", max_length=12)),
                ("rows", models.BigIntegerField()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=18)),
                ("round_up", models.DecimalField(decimal_places=2, max_digits=18)),
                ("fee", models.DecimalField(decimal_places=2, max_digits=18)),
                ("investable", models.DecimalField(decimal_places=2, max_digits=18)),
            ],
            options={
                "db_table": "transaction_days",
                "constraints": [
                    models.UniqueConstraint(fields=("day", "status", "ticker"), name="transaction_days_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="CustomerMonth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField()),
                ("rows", models.BigIntegerField()),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "customer_months",
                "constraints": [models.UniqueConstraint(fields=("month", "user"), name="customer_months_key")],
            },
        ),
        RunSQLFile(__file__, "0001_views.sql"),
    ]
