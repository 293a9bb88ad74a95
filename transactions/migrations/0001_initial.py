"""Customers, purchases, the ledger and the jobs around them."""

import uuid
from decimal import Decimal

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.comparison
import django.db.models.functions.math
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import kamioi_site.db.indexes
from kamioi_site.db.seed import seed_schedule
from kamioi_site.db.sql_migrations import RunSQLFile

# Task → (cron line in UTC or interval in seconds, more fields). A message that no worker took before it expires is
# redundant: the next run does the same work.
SCHEDULE = {
    "maintain_partitions": ("20 2 * * *", {"expire_seconds": 3600}),
    "execute_queued_orders": ("* * * * *", {"expire_seconds": 3600}),
    "sweep_stuck": ("* * * * *", {"expire_seconds": 3600}),
    "refresh_prices": ("*/15 * * * *", {"expire_seconds": 900}),
    "check_ledger": ("40 3 * * *", {"expire_seconds": 3600}),
    "expire_idempotency_keys": ("40 * * * *", {"expire_seconds": 3600}),
    # Enabled by `migrate_from_sqlite cutover` and `dual-write on`.
    "legacy_dual_write": (5, {"expire_seconds": 30, "enabled": False}),
}


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.CreateModel(
            name="Company",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ticker", models.CharField(max_length=12, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("exchange", models.CharField(blank=True, max_length=40)),
                ("cik", models.CharField(blank=True, max_length=10, verbose_name="CIK")),
                ("is_listed", models.BooleanField(default=True)),
                ("aliases", models.JSONField(blank=True, default=list)),
                (
                    "edited",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Edited by staff: imports of companies do not overwrite it.",
                    ),
                ),
            ],
            options={"verbose_name_plural": "companies", "db_table": "companies", "ordering": ["ticker"]},
        ),
        migrations.CreateModel(
            name="MigrationRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("command", models.CharField(max_length=40)),
                ("source", models.CharField(blank=True, max_length=500)),
                ("status", models.CharField(default="running", max_length=12)),
                ("details", models.JSONField(blank=True, default=dict)),
                ("rows_done", models.BigIntegerField(default=0)),
                ("rows_total", models.BigIntegerField(blank=True, null=True)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"db_table": "migration_runs"},
        ),
        migrations.CreateModel(
            name="Setting",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=100, unique=True)),
                ("value", models.TextField()),
                (
                    "type",
                    models.CharField(
                        choices=[("string", "String"), ("decimal", "Decimal"), ("boolean", "Boolean")],
                        default="string",
                        max_length=10,
                    ),
                ),
                ("description", models.TextField(blank=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={"db_table": "admin_settings", "ordering": ["key"]},
        ),
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                ("password", models.CharField(max_length=255)),
                ("email", models.EmailField(max_length=254, unique=True, verbose_name="e-mail")),
                ("name", models.CharField(blank=True, max_length=150)),
                (
                    "account_type",
                    models.CharField(
                        choices=[("individual", "Individual"), ("family", "Family"), ("business", "Business")],
                        default="individual",
                        max_length=20,
                    ),
                ),
                ("account_number", models.CharField(blank=True, max_length=20, null=True, unique=True)),
                ("user_guid", models.CharField(blank=True, max_length=64, verbose_name="user GUID")),
                ("city", models.CharField(blank=True, max_length=100)),
                ("state", models.CharField(blank=True, max_length=50)),
                ("zip_code", models.CharField(blank=True, max_length=20, verbose_name="ZIP code")),
                ("phone", models.CharField(blank=True, max_length=40)),
                ("first_name", models.CharField(blank=True, db_default="", default="", max_length=75)),
                ("last_name", models.CharField(blank=True, db_default="", default="", max_length=75)),
                ("company_name", models.CharField(blank=True, db_default="", default="", max_length=150)),
                ("address", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("country", models.CharField(blank=True, db_default="", default="", max_length=60)),
                ("time_zone", models.CharField(blank=True, db_default="", default="", max_length=60)),
                (
                    "risk_tolerance",
                    models.CharField(blank=True, db_default="moderate", default="moderate", max_length=30),
                ),
                ("investment_goals", models.CharField(blank=True, db_default="", default="", max_length=500)),
                ("terms_agreed_at", models.DateTimeField(blank=True, null=True)),
                ("privacy_agreed_at", models.DateTimeField(blank=True, null=True)),
                ("marketing_agreed", models.BooleanField(db_default=False, default=False)),
                ("round_up_enabled", models.BooleanField(verbose_name="round-up enabled", default=True)),
                (
                    "round_up_rule",
                    models.CharField(
                        verbose_name="round-up rule",
                        choices=[("flat", "whole dollars per purchase"), ("next_dollar", "to the next dollar")],
                        default="flat",
                        max_length=12,
                    ),
                ),
                (
                    "round_up_amount",
                    models.PositiveSmallIntegerField(
                        verbose_name="round-up amount",
                        default=1,
                        help_text="Whole dollars (1 to 100) set aside for each purchase under the rule “flat”.",
                    ),
                ),
                ("is_staff", models.BooleanField(verbose_name="staff", default=False)),
                ("is_active", models.BooleanField(verbose_name="active", default=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "erased_at",
                    models.DateTimeField(editable=False, help_text="When the personal data was erased.", null=True),
                ),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={"db_table": "users"},
        ),
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_tokens",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "api_tokens"},
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("change", "change"),
                            ("download", "download"),
                            ("log_in", "login"),
                            ("log_out", "logout"),
                            ("log_in_failed", "failed login"),
                        ],
                        max_length=13,
                    ),
                ),
                ("action", models.CharField(help_text="HTTP method and view name.", max_length=200)),
                (
                    "target",
                    models.CharField(
                        blank=True, help_text="The rows, as identified by the URL and the form.", max_length=500
                    ),
                ),
                ("status", models.PositiveSmallIntegerField(help_text="HTTP status of the response.", null=True)),
                ("address", models.GenericIPAddressField(help_text="IP address of the client.", null=True)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                (
                    "user",
                    models.ForeignKey(
                        help_text="The account that was used.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "audit_events"},
        ),
        migrations.CreateModel(
            name="BackgroundTask",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=60)),
                ("arguments", models.JSONField(blank=True, default=dict)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("progress", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(blank=True, null=True)),
                ("result", models.JSONField(blank=True, default=dict)),
                ("error", models.TextField(blank=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("version", models.PositiveBigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"db_table": "background_tasks"},
        ),
        migrations.CreateModel(
            name="Goal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=120)),
                ("target_amount", models.DecimalField(decimal_places=2, max_digits=14)),
                ("current_amount", models.DecimalField(decimal_places=2, default=Decimal("0"), max_digits=14)),
                (
                    "goal_type",
                    models.CharField(
                        choices=[("personal", "Personal"), ("family", "Family"), ("business", "Business")],
                        default="personal",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="goals",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "goals"},
        ),
        migrations.CreateModel(
            name="Holding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ticker", models.CharField(max_length=12)),
                ("shares", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                ("cost_basis", models.DecimalField(decimal_places=2, default=Decimal("0"), max_digits=14)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holdings",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "holdings"},
        ),
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=100)),
                ("fingerprint", models.CharField(help_text="SHA-256 of method, URL and body.", max_length=64)),
                ("status", models.PositiveSmallIntegerField(default=0)),
                ("answer", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "idempotency_keys"},
        ),
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
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "reversed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"verbose_name_plural": "journal entries", "db_table": "journal_entries"},
        ),
        migrations.CreateModel(
            name="LedgerAccount",
            fields=[
                ("number", models.CharField(max_length=10, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("asset", "Asset"),
                            ("liability", "Liability"),
                            ("equity", "Equity"),
                            ("revenue", "Revenue"),
                            ("expense", "Expense"),
                        ],
                        max_length=10,
                    ),
                ),
            ],
            options={
                "db_table": "ledger_accounts",
                "ordering": ["number"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("type__in", ["asset", "liability", "equity", "revenue", "expense"])),
                        name="ledger_accounts_type_known",
                    )
                ],
            },
        ),
        # The table is created in SQL: Django supports neither PARTITION BY nor the composite key.
        migrations.SeparateDatabaseAndState(
            database_operations=[RunSQLFile(__file__, "0001_ledger_transfers.sql")],
            state_operations=[
                migrations.CreateModel(
                    name="LedgerTransfer",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        ("user_id", models.BigIntegerField(default=0, help_text="0 for the company's own entries.")),
                        ("date", models.DateTimeField()),
                        ("transaction_id", models.BigIntegerField(blank=True, null=True)),
                        ("kind", models.CharField(max_length=16)),
                        ("debit_account", models.CharField(max_length=10)),
                        ("credit_account", models.CharField(max_length=10)),
                        ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                        ("ticker", models.CharField(blank=True, max_length=12, null=True)),
                        ("shares", models.DecimalField(blank=True, decimal_places=8, max_digits=20, null=True)),
                        ("reference", models.CharField(blank=True, default="", max_length=100)),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ],
                    options={"db_table": "ledger_transfers"},
                )
            ],
        ),
        migrations.CreateModel(
            name="Merchant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("merchant_key", models.CharField(max_length=120, unique=True)),
                ("display_name", models.CharField(max_length=255)),
                ("ticker", models.CharField(blank=True, max_length=12, null=True)),
                ("company_name", models.CharField(blank=True, max_length=200)),
                ("category", models.CharField(blank=True, max_length=100)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("proposed", "awaiting a decision"),
                            ("approved", "invests"),
                            ("not_listed", "no listed company"),
                            ("rejected", "proposal rejected, awaiting a decision"),
                        ],
                        default="proposed",
                        max_length=12,
                    ),
                ),
                ("confidence", models.DecimalField(blank=True, decimal_places=4, max_digits=5, null=True)),
                (
                    "stated_confidence",
                    models.DecimalField(
                        blank=True,
                        decimal_places=4,
                        help_text="The confidence stated by the source, before calibration.",
                        max_digits=5,
                        null=True,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("seed", "Seed"),
                            ("matcher", "Matcher"),
                            ("llm", "LLM"),
                            ("admin", "Admin"),
                            ("legacy", "Legacy"),
                            ("ingest", "statement"),
                        ],
                        default="ingest",
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                (
                    "alternatives",
                    models.JSONField(
                        blank=True,
                        db_default=models.Value([], models.JSONField()),
                        default=list,
                        help_text="Other possible companies.",
                    ),
                ),
                (
                    "rejected_tickers",
                    models.JSONField(blank=True, default=list, help_text="Never proposed again for this merchant."),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("waiting_count", models.PositiveIntegerField(verbose_name="waiting", default=0)),
                ("waiting_amount", models.DecimalField(decimal_places=2, default=Decimal("0"), max_digits=14)),
                (
                    "review_priority",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.expressions.CombinedExpression(
                            models.F("waiting_amount"),
                            "*",
                            django.db.models.expressions.CombinedExpression(
                                models.Value(Decimal("1")),
                                "-",
                                django.db.models.functions.comparison.Coalesce(
                                    models.F("confidence"), models.Value(Decimal("0"))
                                ),
                            ),
                        ),
                        help_text="Waiting dollars × (1 − confidence): the order of the review queue.",
                        output_field=models.DecimalField(decimal_places=6, max_digits=18),
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"db_table": "merchants"},
        ),
        migrations.CreateModel(
            name="MigrationReject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("table_name", models.CharField(max_length=100)),
                ("legacy_id", models.CharField(blank=True, max_length=100)),
                ("row", models.JSONField()),
                ("reason", models.CharField(max_length=255)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "resolved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="rejects",
                        to="transactions.migrationrun",
                    ),
                ),
            ],
            options={"db_table": "migration_rejects"},
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=120)),
                ("message", models.TextField()),
                ("type", models.CharField(default="info", max_length=30)),
                ("read", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "notifications"},
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("transaction_id", models.BigIntegerField()),
                ("transaction_date", models.DateTimeField()),
                ("ticker", models.CharField(max_length=12)),
                ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                (
                    "status",
                    models.CharField(
                        choices=[("queued", "Queued"), ("executed", "Executed"), ("cancelled", "Cancelled")],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("execute_after", models.DateTimeField(help_text="The market opening that this order waits for.")),
                ("shares", models.DecimalField(blank=True, decimal_places=8, max_digits=20, null=True)),
                ("price", models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("executed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"db_table": "orders"},
        ),
        migrations.CreateModel(
            name="ReleasedTransaction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("decision_id", models.BigIntegerField(help_text="The id in `mapping_decisions`.")),
                ("transaction_id", models.BigIntegerField()),
                ("date", models.DateTimeField(help_text="The date of the transaction.")),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "released_transactions"},
        ),
        migrations.CreateModel(
            name="StatementImport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("filename", models.CharField(max_length=255)),
                ("file", models.FileField(upload_to="statements/%Y/%m/")),
                ("size", models.BigIntegerField(default=0)),
                ("rows_done", models.BigIntegerField(default=0)),
                ("rows_added", models.BigIntegerField(default=0)),
                ("rows_duplicate", models.BigIntegerField(verbose_name="duplicates", default=0)),
                ("rows_rejected", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "task",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="statement",
                        to="transactions.backgroundtask",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="statements",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "statement_imports"},
        ),
        migrations.CreateModel(
            name="StatementReject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("row_number", models.BigIntegerField()),
                ("field", models.CharField(max_length=30)),
                ("reason", models.CharField(max_length=255)),
                ("raw", models.TextField(blank=True)),
                (
                    "statement",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rejects",
                        to="transactions.statementimport",
                    ),
                ),
            ],
            options={"db_table": "statement_rejects"},
        ),
        migrations.CreateModel(
            name="StockPrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ticker", models.CharField(max_length=12)),
                ("price", models.DecimalField(decimal_places=4, max_digits=14)),
                ("as_of", models.DateTimeField()),
                ("source", models.CharField(max_length=40)),
            ],
            options={
                "db_table": "stock_prices",
                "constraints": [
                    models.UniqueConstraint(fields=("ticker", "as_of"), name="stock_prices_one_per_moment"),
                    models.CheckConstraint(condition=models.Q(("price__gt", 0)), name="stock_prices_price_positive"),
                ],
            },
        ),
        # The table is created in SQL: Django supports neither PARTITION BY nor the composite key.
        migrations.SeparateDatabaseAndState(
            database_operations=[RunSQLFile(__file__, "0001_transactions.sql")],
            state_operations=[
                migrations.CreateModel(
                    name="Transaction",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        ("date", models.DateTimeField()),
                        ("merchant", models.CharField(max_length=255)),
                        ("merchant_key", models.CharField(max_length=120)),
                        ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                        ("category", models.CharField(blank=True, default="", max_length=100)),
                        ("description", models.CharField(blank=True, default="", max_length=500)),
                        ("investable", models.DecimalField(decimal_places=2, default=Decimal("0"), max_digits=14)),
                        (
                            "round_up",
                            models.DecimalField(
                                verbose_name="round-up", decimal_places=2, default=Decimal("0"), max_digits=14
                            ),
                        ),
                        ("fee", models.DecimalField(decimal_places=2, default=Decimal("0"), max_digits=14)),
                        ("total_debit", models.DecimalField(decimal_places=2, max_digits=14)),
                        ("ticker", models.CharField(blank=True, max_length=12, null=True)),
                        ("shares", models.DecimalField(blank=True, decimal_places=8, max_digits=20, null=True)),
                        (
                            "price_per_share",
                            models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True),
                        ),
                        (
                            "status",
                            models.CharField(
                                choices=[
                                    ("pending", "pending"),
                                    ("mapped", "awaiting market open"),
                                    ("completed", "Completed"),
                                    ("needs_review", "awaiting review"),
                                    ("not_listed", "no listed company"),
                                    ("awaiting_price", "awaiting price"),
                                    ("failed", "Failed"),
                                    ("refunded", "refund, nothing invested"),
                                ],
                                default="pending",
                                max_length=16,
                            ),
                        ),
                        ("failure_reason", models.CharField(blank=True, default="", max_length=255)),
                        ("transaction_type", models.CharField(default="bank", max_length=20)),
                        ("source", models.CharField(default="api", max_length=20)),
                        (
                            "booking",
                            models.PositiveSmallIntegerField(
                                db_default=0,
                                default=0,
                                help_text="How often the booking has been reversed by contra entries.",
                            ),
                        ),
                        (
                            "priority",
                            models.PositiveSmallIntegerField(
                                choices=[(0, "a customer's own purchase"), (3, "released by a reviewer"), (9, "bulk")],
                                default=0,
                            ),
                        ),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                        ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                        (
                            "user",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="transactions",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={"db_table": "transactions"},
                )
            ],
        ),
        migrations.CreateModel(
            name="TransactionDelta",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("status", models.CharField(max_length=16)),
                ("ticker", models.CharField(max_length=12, null=True)),
                ("rows", models.IntegerField()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=18)),
                ("round_up", models.DecimalField(verbose_name="round-up", decimal_places=2, max_digits=18)),
                ("fee", models.DecimalField(decimal_places=2, max_digits=18)),
                ("investable", models.DecimalField(decimal_places=2, max_digits=18)),
                ("writes", models.IntegerField()),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="The user whose rows these are, if they are new.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "transaction_deltas"},
        ),
        migrations.CreateModel(
            name="TransactionKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("idempotency_key", models.CharField(max_length=128)),
                ("transaction_id", models.BigIntegerField()),
                ("date", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "transaction_keys"},
        ),
        migrations.CreateModel(
            name="UserSetting",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("setting_key", models.CharField(max_length=64)),
                ("setting_value", models.JSONField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="settings",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "user_settings"},
        ),
        migrations.AddIndex(
            model_name="user", index=models.Index(fields=["account_type", "-id"], name="idx_users_account_type")
        ),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(condition=models.Q(("is_staff", True)), fields=["-id"], name="idx_users_staff"),
        ),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(condition=models.Q(("is_active", False)), fields=["-id"], name="idx_users_inactive"),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("email"), name="users_email_unique_any_case"
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(("round_up_amount__gte", 1), ("round_up_amount__lte", 100)),
                name="users_round_up_amount_1_to_100",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(("round_up_rule__in", ["flat", "next_dollar"])), name="users_round_up_rule_known"
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent", index=models.Index(fields=["user", "-id"], name="idx_audit_events_user")
        ),
        migrations.AddIndex(
            model_name="auditevent", index=models.Index(fields=["kind", "-id"], name="idx_audit_events_kind")
        ),
        migrations.AddIndex(
            model_name="backgroundtask", index=models.Index(fields=["-created_at"], name="idx_background_tasks_created")
        ),
        migrations.AddIndex(
            model_name="backgroundtask",
            index=models.Index(fields=["status", "-created_at", "-id"], name="idx_background_tasks_status"),
        ),
        migrations.AddIndex(
            model_name="backgroundtask",
            index=models.Index(fields=["name", "-created_at"], name="idx_background_tasks_name"),
        ),
        migrations.AddIndex(
            model_name="backgroundtask",
            index=models.Index(
                condition=models.Q(("status__in", ["queued", "running"])),
                fields=["created_at"],
                name="idx_background_tasks_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="backgroundtask",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["queued", "running", "completed", "failed"])),
                name="background_tasks_status_known",
            ),
        ),
        migrations.AddIndex(model_name="goal", index=models.Index(fields=["user", "-id"], name="idx_goals_user")),
        migrations.AddConstraint(
            model_name="goal",
            constraint=models.CheckConstraint(
                condition=models.Q(("target_amount__gt", 0)), name="goals_target_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="goal",
            constraint=models.CheckConstraint(
                condition=models.Q(("current_amount__gte", 0)), name="goals_current_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="goal",
            constraint=models.CheckConstraint(
                condition=models.Q(("goal_type__in", ["personal", "family", "business"])), name="goals_type_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="holding",
            constraint=models.UniqueConstraint(fields=("user", "ticker"), name="holdings_one_per_ticker"),
        ),
        migrations.AddConstraint(
            model_name="holding",
            constraint=models.CheckConstraint(
                condition=models.Q(("cost_basis__gte", 0), ("shares__gte", 0)), name="holdings_not_negative"
            ),
        ),
        migrations.AddIndex(
            model_name="idempotencykey", index=models.Index(fields=["created_at"], name="idx_idempotency_keys_created")
        ),
        migrations.AddConstraint(
            model_name="idempotencykey",
            constraint=models.UniqueConstraint(fields=("user", "key"), name="idempotency_keys_once_per_user"),
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
        migrations.AddIndex(
            model_name="merchant",
            index=models.Index(
                condition=models.Q(("status__in", ["proposed", "rejected"])),
                fields=["-review_priority", "id"],
                name="idx_merchants_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="merchant",
            index=models.Index(
                condition=models.Q(("source", "ingest"), ("status", "proposed")),
                fields=["id"],
                name="idx_merchants_unproposed",
            ),
        ),
        migrations.AddIndex(
            model_name="merchant",
            index=models.Index(
                condition=models.Q(("ticker__isnull", False)), fields=["ticker"], name="idx_merchants_ticker"
            ),
        ),
        migrations.AddIndex(
            model_name="merchant", index=models.Index(fields=["status", "-id"], name="idx_merchants_status")
        ),
        migrations.AddIndex(
            model_name="merchant", index=models.Index(fields=["source", "-id"], name="idx_merchants_source")
        ),
        migrations.AddConstraint(
            model_name="merchant",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["proposed", "approved", "not_listed", "rejected"])),
                name="merchants_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="merchant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "approved"), _negated=True), ("ticker__isnull", False), _connector="OR"
                ),
                name="merchants_approved_has_ticker",
            ),
        ),
        migrations.AddConstraint(
            model_name="merchant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "not_listed"), _negated=True), ("ticker__isnull", True), _connector="OR"
                ),
                name="merchants_not_listed_has_no_ticker",
            ),
        ),
        migrations.AddConstraint(
            model_name="merchant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("confidence__isnull", True),
                    models.Q(("confidence__gte", 0), ("confidence__lte", 1)),
                    _connector="OR",
                ),
                name="merchants_confidence_0_to_1",
            ),
        ),
        migrations.AddConstraint(
            model_name="merchant",
            constraint=models.CheckConstraint(
                condition=models.Q(("waiting_amount__gte", 0)), name="merchants_waiting_amount_not_negative"
            ),
        ),
        migrations.AddIndex(
            model_name="migrationreject",
            index=models.Index(fields=["table_name", "legacy_id"], name="idx_migration_rejects_row"),
        ),
        migrations.AddIndex(
            model_name="notification", index=models.Index(fields=["user", "-id"], name="idx_notifications_user_id")
        ),
        migrations.AddIndex(
            model_name="order",
            index=kamioi_site.db.indexes.NamedIndex(
                django.db.models.functions.math.Mod(models.F("user_id"), 64),
                models.F("id"),
                condition=models.Q(("status", "queued")),
                name="idx_orders_work",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("status", "cancelled")), fields=["-id"], name="idx_orders_cancelled"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(fields=("user", "transaction_id"), name="orders_one_per_transaction"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="orders_amount_positive"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["queued", "executed", "cancelled"])), name="orders_status_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "executed"), _negated=True),
                    models.Q(("executed_at__isnull", False), ("price__gt", 0), ("shares__gte", 0)),
                    _connector="OR",
                ),
                name="orders_executed_has_price",
            ),
        ),
        migrations.AddIndex(
            model_name="releasedtransaction",
            index=models.Index(fields=["decision_id", "user"], name="idx_released_decision"),
        ),
        migrations.AddConstraint(
            model_name="releasedtransaction",
            constraint=models.UniqueConstraint(
                fields=("user", "decision_id", "transaction_id"), name="released_transactions_once_per_decision"
            ),
        ),
        migrations.AddIndex(
            model_name="statementimport", index=models.Index(fields=["user", "-id"], name="idx_statement_imports_user")
        ),
        migrations.AddConstraint(
            model_name="statementreject",
            constraint=models.UniqueConstraint(
                fields=("statement", "row_number"), name="statement_rejects_once_per_row"
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(fields=["user", "-date"], name="idx_transactions_user_id_date"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(fields=["status", "-date", "-id"], name="idx_transactions_status"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("ticker__isnull", False)),
                fields=["ticker", "-date", "-id"],
                name="idx_transactions_ticker",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(fields=["-created_at"], name="idx_transactions_created_at"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("status", "pending"), ("ticker__isnull", False)),
                fields=["id"],
                name="idx_transactions_pending_ticker",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                django.db.models.functions.math.Mod(models.F("user_id"), 64),
                models.F("priority"),
                models.F("id"),
                condition=models.Q(("status", "pending")),
                name="idx_transactions_work",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("status", "needs_review")),
                fields=["merchant_key", "id"],
                name="idx_transactions_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("status", "awaiting_price")),
                fields=["ticker", "id"],
                name="idx_transactions_no_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "pending",
                            "mapped",
                            "completed",
                            "needs_review",
                            "not_listed",
                            "awaiting_price",
                            "failed",
                            "refunded",
                        ],
                    )
                ),
                name="transactions_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("amount", 0), _negated=True), ("source", "legacy"), _connector="OR"),
                name="transactions_amount_not_zero",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("booking__lt", 5)), name="transactions_booking_in_bounds"
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("fee__gte", 0), ("investable__gte", 0), ("round_up__gte", 0)),
                name="transactions_parts_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("source", "legacy"),
                    (
                        "total_debit",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("amount"), "+", models.F("round_up")
                            ),
                            "+",
                            models.F("fee"),
                        ),
                    ),
                    _connector="OR",
                ),
                name="transactions_total_debit_adds_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "completed"), _negated=True),
                    ("source", "legacy"),
                    ("investable", 0),
                    models.Q(("price_per_share__gt", 0), ("shares__gte", 0), ("ticker__isnull", False)),
                    _connector="OR",
                ),
                name="transactions_completed_is_bought",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gt", 0),
                    ("source", "legacy"),
                    models.Q(("fee", 0), ("investable", 0), ("round_up", 0)),
                    _connector="OR",
                ),
                name="transactions_refund_invests_nothing",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "failed"), _negated=True),
                    models.Q(("failure_reason", ""), _negated=True),
                    ("source", "legacy"),
                    _connector="OR",
                ),
                name="transactions_failed_has_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="transactionkey",
            constraint=models.UniqueConstraint(
                fields=("user", "idempotency_key"), name="transaction_keys_once_per_user"
            ),
        ),
        migrations.AddConstraint(
            model_name="usersetting",
            constraint=models.UniqueConstraint(fields=("user", "setting_key"), name="user_settings_once_per_user"),
        ),
        migrations.AddIndex(
            "ledgertransfer",
            kamioi_site.db.indexes.NamedIndex(fields=["-date", "-id"], name="idx_ledger_transfers_date"),
        ),
        migrations.AddIndex(
            "ledgertransfer",
            kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("kind__in", ("round_up", "fee", "purchase")), _negated=True),
                fields=["-date", "-id"],
                name="idx_ledger_transfers_unusual",
            ),
        ),
        migrations.AddConstraint(
            "ledgertransfer",
            models.UniqueConstraint(
                fields=("user_id", "transaction_id", "kind", "date"), name="ledger_transfers_booked_once"
            ),
        ),
        migrations.AddConstraint(
            "ledgertransfer",
            models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="ledger_transfers_amount_positive"),
        ),
        migrations.AddConstraint(
            "ledgertransfer",
            models.CheckConstraint(
                condition=models.Q(("debit_account", models.F("credit_account")), _negated=True),
                name="ledger_transfers_two_accounts",
            ),
        ),
        migrations.AddConstraint(
            "ledgertransfer",
            models.CheckConstraint(
                condition=models.Q(
                    models.Q(("credit_account", "20100"), ("debit_account", "10100"), ("kind", "round_up")),
                    models.Q(("credit_account", "40100"), ("debit_account", "10100"), ("kind", "fee")),
                    models.Q(("credit_account", "22100"), ("debit_account", "20100"), ("kind", "purchase")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "rounding")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "rounding")),
                    models.Q(("credit_account", "22100"), ("debit_account", "30900"), ("kind", "opening")),
                    models.Q(("credit_account", "15100"), ("debit_account", "67010"), ("kind", "amortization")),
                    models.Q(("credit_account", "15200"), ("debit_account", "67010"), ("kind", "amortization")),
                    models.Q(("credit_account", "67010"), ("debit_account", "15100"), ("kind", "amort_reversal")),
                    models.Q(("credit_account", "67010"), ("debit_account", "15200"), ("kind", "amort_reversal")),
                    models.Q(("credit_account", "10100"), ("debit_account", "15200"), ("kind", "capitalize")),
                    models.Q(("credit_account", "15100"), ("debit_account", "67020"), ("kind", "impairment")),
                    models.Q(("credit_account", "15200"), ("debit_account", "15100"), ("kind", "disposal")),
                    models.Q(("credit_account", "15200"), ("debit_account", "10100"), ("kind", "disposal")),
                    models.Q(("credit_account", "15200"), ("debit_account", "67030"), ("kind", "disposal")),
                    models.Q(("credit_account", "40200"), ("debit_account", "15200"), ("kind", "disposal")),
                    models.Q(("credit_account", "10100"), ("debit_account", "20100"), ("kind", "undo_round_up")),
                    models.Q(("credit_account", "20100"), ("debit_account", "10100"), ("kind", "round_up_2")),
                    models.Q(("credit_account", "10100"), ("debit_account", "20100"), ("kind", "undo_round_up_2")),
                    models.Q(("credit_account", "20100"), ("debit_account", "10100"), ("kind", "round_up_3")),
                    models.Q(("credit_account", "10100"), ("debit_account", "20100"), ("kind", "undo_round_up_3")),
                    models.Q(("credit_account", "20100"), ("debit_account", "10100"), ("kind", "round_up_4")),
                    models.Q(("credit_account", "10100"), ("debit_account", "20100"), ("kind", "undo_round_up_4")),
                    models.Q(("credit_account", "20100"), ("debit_account", "10100"), ("kind", "round_up_5")),
                    models.Q(("credit_account", "10100"), ("debit_account", "20100"), ("kind", "undo_round_up_5")),
                    models.Q(("credit_account", "10100"), ("debit_account", "40100"), ("kind", "undo_fee")),
                    models.Q(("credit_account", "40100"), ("debit_account", "10100"), ("kind", "fee_2")),
                    models.Q(("credit_account", "10100"), ("debit_account", "40100"), ("kind", "undo_fee_2")),
                    models.Q(("credit_account", "40100"), ("debit_account", "10100"), ("kind", "fee_3")),
                    models.Q(("credit_account", "10100"), ("debit_account", "40100"), ("kind", "undo_fee_3")),
                    models.Q(("credit_account", "40100"), ("debit_account", "10100"), ("kind", "fee_4")),
                    models.Q(("credit_account", "10100"), ("debit_account", "40100"), ("kind", "undo_fee_4")),
                    models.Q(("credit_account", "40100"), ("debit_account", "10100"), ("kind", "fee_5")),
                    models.Q(("credit_account", "10100"), ("debit_account", "40100"), ("kind", "undo_fee_5")),
                    models.Q(("credit_account", "20100"), ("debit_account", "22100"), ("kind", "undo_purchase")),
                    models.Q(("credit_account", "22100"), ("debit_account", "20100"), ("kind", "purchase_2")),
                    models.Q(("credit_account", "20100"), ("debit_account", "22100"), ("kind", "undo_purchase_2")),
                    models.Q(("credit_account", "22100"), ("debit_account", "20100"), ("kind", "purchase_3")),
                    models.Q(("credit_account", "20100"), ("debit_account", "22100"), ("kind", "undo_purchase_3")),
                    models.Q(("credit_account", "22100"), ("debit_account", "20100"), ("kind", "purchase_4")),
                    models.Q(("credit_account", "20100"), ("debit_account", "22100"), ("kind", "undo_purchase_4")),
                    models.Q(("credit_account", "22100"), ("debit_account", "20100"), ("kind", "purchase_5")),
                    models.Q(("credit_account", "20100"), ("debit_account", "22100"), ("kind", "undo_purchase_5")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "undo_rounding")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "undo_rounding")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "rounding_2")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "rounding_2")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "undo_rounding_2")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "undo_rounding_2")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "rounding_3")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "rounding_3")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "undo_rounding_3")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "undo_rounding_3")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "rounding_4")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "rounding_4")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "undo_rounding_4")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "undo_rounding_4")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "rounding_5")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "rounding_5")),
                    models.Q(("credit_account", "20100"), ("debit_account", "29900"), ("kind", "undo_rounding_5")),
                    models.Q(("credit_account", "29900"), ("debit_account", "20100"), ("kind", "undo_rounding_5")),
                    models.Q(
                        (
                            "kind__in",
                            [
                                "round_up",
                                "fee",
                                "purchase",
                                "rounding",
                                "opening",
                                "amortization",
                                "amort_reversal",
                                "capitalize",
                                "impairment",
                                "disposal",
                                "undo_round_up",
                                "round_up_2",
                                "undo_round_up_2",
                                "round_up_3",
                                "undo_round_up_3",
                                "round_up_4",
                                "undo_round_up_4",
                                "round_up_5",
                                "undo_round_up_5",
                                "undo_fee",
                                "fee_2",
                                "undo_fee_2",
                                "fee_3",
                                "undo_fee_3",
                                "fee_4",
                                "undo_fee_4",
                                "fee_5",
                                "undo_fee_5",
                                "undo_purchase",
                                "purchase_2",
                                "undo_purchase_2",
                                "purchase_3",
                                "undo_purchase_3",
                                "purchase_4",
                                "undo_purchase_4",
                                "purchase_5",
                                "undo_purchase_5",
                                "undo_rounding",
                                "rounding_2",
                                "undo_rounding_2",
                                "rounding_3",
                                "undo_rounding_3",
                                "rounding_4",
                                "undo_rounding_4",
                                "rounding_5",
                                "undo_rounding_5",
                            ],
                        ),
                        _negated=True,
                    ),
                    _connector="OR",
                ),
                name="ledger_transfers_posting_rule",
            ),
        ),
        migrations.AddConstraint(
            "ledgertransfer",
            models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        (
                            "kind__in",
                            (
                                "purchase",
                                "opening",
                                "purchase_2",
                                "purchase_3",
                                "purchase_4",
                                "purchase_5",
                                "undo_purchase",
                                "undo_purchase_2",
                                "undo_purchase_3",
                                "undo_purchase_4",
                                "undo_purchase_5",
                            ),
                        ),
                        ("shares__gte", 0),
                        ("shares__isnull", False),
                        ("ticker__isnull", False),
                    ),
                    models.Q(
                        models.Q(
                            (
                                "kind__in",
                                (
                                    "purchase",
                                    "opening",
                                    "purchase_2",
                                    "purchase_3",
                                    "purchase_4",
                                    "purchase_5",
                                    "undo_purchase",
                                    "undo_purchase_2",
                                    "undo_purchase_3",
                                    "undo_purchase_4",
                                    "undo_purchase_5",
                                ),
                            ),
                            _negated=True,
                        ),
                        ("shares__isnull", True),
                        ("ticker__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="ledger_transfers_shares_with_purchase",
            ),
        ),
        RunSQLFile(__file__, "0001_money.sql"),
        RunSQLFile(__file__, "0001_triggers.sql"),
        RunSQLFile(__file__, "0001_statement_fingerprints.sql"),
        RunSQLFile(__file__, "0001_legacy.sql"),
        RunSQLFile(__file__, "0001_reference_data.sql"),
        seed_schedule(SCHEDULE),
    ]
