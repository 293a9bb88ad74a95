"""Rollups, the views over them, reports and who sees which dashboard."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles, seed_schedule
from kamioi_site.db.sql_migrations import RunSQLFile

SCHEDULE = {
    "calculate_analytics": ("0 * * * *", {"expire_seconds": 3600, "queue": "analytics"}),
    "recheck_analytics": (
        "30 3 * * *",
        {"task": "calculate_analytics", "kwargs": {"recheck": 1}, "expire_seconds": 3600, "queue": "analytics"},
    ),
    "count_ledger": ("* * * * *", {"expire_seconds": 300}),
    "make_monthly_statements": ("30 4 2 * *", {}),
}

# Group → permissions; None for all.
ROLES = {
    "finance": (
        "analytics.add_report analytics.view_finance_dashboard analytics.view_report "
        "analytics.view_transactions_dashboard"
    ).split(),
    "operator": (
        "analytics.view_llm_center_dashboard analytics.view_operations_dashboard analytics.view_transactions_dashboard"
    ).split(),
    "reviewer": ("analytics.view_llm_center_dashboard analytics.view_transactions_dashboard").split(),
    "admin": None,
}


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("transactions", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("llm_center", "0001_initial"),
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
            name="LedgerMark",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("counted_to", models.BigIntegerField(help_text="Every booking up to this id is in the days.")),
                (
                    "counted_at",
                    models.DateTimeField(blank=True, help_text="Everything booked before is in the days.", null=True),
                ),
                (
                    "high_water_mark",
                    models.BigIntegerField(db_column="drawn_to", help_text="The highest id when the mark was set."),
                ),
                (
                    "open_before",
                    models.BigIntegerField(
                        db_column="drawn_before", help_text="Transactions with smaller numbers may hold smaller ids."
                    ),
                ),
                ("marked_at", models.DateTimeField(db_column="drawn_at", blank=True, null=True)),
            ],
            options={"db_table": "ledger_marks"},
        ),
        migrations.CreateModel(
            name="RollupPartition",
            fields=[
                ("name", models.CharField(max_length=63, primary_key=True, serialize=False)),
                ("relation", models.BigIntegerField(help_text="Its oid: a new table of the same name has another.")),
                (
                    "written",
                    models.BigIntegerField(help_text="Rows inserted, updated and deleted at the last inspection."),
                ),
                (
                    "unreported_writes",
                    models.BigIntegerField(
                        db_column="ahead", help_text="Counted writes that the statistics do not report yet."
                    ),
                ),
                ("looked_at", models.DateTimeField(verbose_name="inspected at", blank=True, null=True)),
                (
                    "stale",
                    models.BooleanField(
                        db_default=False, default=False, help_text="Has uncounted writes and must be recounted."
                    ),
                ),
                (
                    "archived",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Detached from its table; the totals of its days stay.",
                    ),
                ),
                (
                    "verified_at",
                    models.DateTimeField(blank=True, help_text="When its rows were last recounted.", null=True),
                ),
            ],
            options={"db_table": "rollup_partitions"},
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
                ("reversed", models.BigIntegerField(help_text="Undone later.")),
                (
                    "overturned",
                    models.BigIntegerField(help_text="Decisions of reviewers that ended an automatic approval."),
                ),
                ("released", models.BigIntegerField(help_text="Transactions that waited for these decisions.")),
                ("waited", models.BigIntegerField(help_text="Decisions on merchants that had waited.")),
                ("median_seconds", models.FloatField(verbose_name="median wait (s)", null=True)),
                ("slow_seconds", models.FloatField(verbose_name="90th percentile (s)", null=True)),
            ],
            options={
                "db_table": "decision_days",
                "constraints": [
                    models.UniqueConstraint(fields=("day", "automatic", "action"), name="decision_days_key")
                ],
            },
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
                ("ticker", models.CharField(blank=True, help_text="Empty if there is none.", max_length=12)),
                ("rows", models.BigIntegerField()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=18)),
                ("round_up", models.DecimalField(verbose_name="round-up", decimal_places=2, max_digits=18)),
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
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("statement", "account statement"),
                            ("finance", "finance report"),
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
                ("rows", models.BigIntegerField(help_text="Transactions, postings or differences.")),
                (
                    "made_at",
                    models.DateTimeField(verbose_name="created at", default=django.utils.timezone.now, editable=False),
                ),
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
                        help_text="Owner of an account statement.",
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
        RunSQLFile(__file__, "0001_views.sql"),
        RunSQLFile(__file__, "0001_refresh_summary.sql"),
        seed_schedule(SCHEDULE),
        seed_roles(ROLES),
    ]
