"""Customers and decisions counted; what a transaction costs; partitions that are stale or archived."""

from django.db import migrations, models

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("analytics", "0001_rollups"), ("llm_center", "0015_waited_seconds")]

    operations = [
        migrations.AddField(
            model_name="rolluppartition",
            name="archived",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="No longer a part of its table; the figures of its days stay.",
            ),
        ),
        migrations.AddField(
            model_name="rolluppartition", name="looked_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="rolluppartition",
            name="stale",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Written to by somebody who did not count, and to be counted anew.",
            ),
        ),
        migrations.AlterField(
            model_name="rolluppartition",
            name="verified_at",
            field=models.DateTimeField(blank=True, help_text="When its rows were last counted themselves.", null=True),
        ),
        migrations.CreateModel(
            name="CustomerCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField()),
                ("account_type", models.CharField(max_length=20)),
                ("users", models.BigIntegerField()),
                ("transactions", models.BigIntegerField()),
            ],
            options={
                "db_table": "customer_counts",
                "constraints": [models.UniqueConstraint(fields=("month", "account_type"), name="customer_counts_key")],
            },
        ),
        migrations.CreateModel(
            name="DecisionDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("automatic", models.BooleanField()),
                ("action", models.CharField(max_length=12)),
                ("decisions", models.BigIntegerField()),
                ("reversed", models.BigIntegerField(help_text="Taken back later.")),
                (
                    "overturned",
                    models.BigIntegerField(help_text="Decisions of people that ended an approval no person had made."),
                ),
                ("released", models.BigIntegerField(help_text="Transactions that waited for them.")),
                ("waited", models.BigIntegerField(help_text="Decisions about merchants that waited.")),
                ("median_seconds", models.FloatField(null=True)),
                ("slow_seconds", models.FloatField(help_text="Nine in ten waited no longer.", null=True)),
            ],
            options={
                "db_table": "decision_days",
                "constraints": [
                    models.UniqueConstraint(fields=("day", "automatic", "action"), name="decision_days_key")
                ],
            },
        ),
        RunSQLFile(__file__, "0002_counts.sql"),
    ]
