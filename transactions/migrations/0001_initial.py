"""Customers, purchases, the ledger and the jobs around them."""

import uuid
from decimal import Decimal

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.comparison
import django.db.models.functions.datetime
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
    "refresh_prices": ("*/5 * * * *", {"expire_seconds": 300}),
    "collect_round_ups": ("10 1 * * *", {"expire_seconds": 3600}),
    "settle_positions": ("*/5 * * * *", {"expire_seconds": 300}),
    "check_ledger": ("40 3 * * *", {"expire_seconds": 3600}),
    "seal_ledger": ("20 0,1,2,3 * * *", {"expire_seconds": 3000}),
    "apply_due_email_changes": ("*/10 * * * *", {"expire_seconds": 600}),
    "expire_uploads": ("10 4 * * *", {"expire_seconds": 3600}),
    "delete_expired_rows": ("30 4 * * *", {"expire_seconds": 3600}),
    "expire_idempotency_keys": ("40 * * * *", {"expire_seconds": 3600}),
    # Enabled by `migrate_from_sqlite cutover` and `dual-write on`.
    "legacy_dual_write": (5, {"expire_seconds": 30, "enabled": False}),
}


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("kamioi_site", "0001_initial"),
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
            name="DetachedPartition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("table", models.CharField(max_length=63)),
                ("name", models.CharField(max_length=63, unique=True)),
                ("end", models.DateField(help_text="The first day after it: all rows from before are detached.")),
                (
                    "remaining",
                    models.JSONField(
                        default=dict,
                        help_text="Day → rows, sums, holdings, cost and digest of the rows written on it that are left.",
                    ),
                ),
                ("detached_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={"db_table": "detached_partitions"},
        ),
        migrations.CreateModel(
            name="LedgerSeal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(unique=True)),
                ("rows", models.BigIntegerField()),
                ("sums", models.JSONField(help_text="Account → debits less credits of the day, dollars as text.")),
                (
                    "balances",
                    models.JSONField(
                        help_text="Account → debits less credits up to the end of the day, dollars as text."
                    ),
                ),
                ("holdings", models.DecimalField(decimal_places=8, max_digits=60)),
                ("cost", models.DecimalField(decimal_places=2, max_digits=60)),
                ("digest", models.CharField(help_text="SHA-256 over the day's ledger rows.", max_length=64)),
                ("events", models.BigIntegerField(help_text="Audit events up to the end of the day.")),
                ("last_event_id", models.BigIntegerField(help_text="The newest of them.")),
                ("events_digest", models.CharField(help_text="SHA-256 over the day's audit events.", max_length=64)),
                (
                    "chain",
                    models.CharField(
                        help_text="SHA-256 over the chain of the day before and this seal.", max_length=64
                    ),
                ),
                ("sealed_at", models.DateTimeField()),
            ],
            options={"db_table": "ledger_seals"},
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
                ("round_up_enabled", models.BooleanField(default=True, verbose_name="round-up enabled")),
                (
                    "round_up_rule",
                    models.CharField(
                        choices=[("flat", "whole dollars per purchase"), ("next_dollar", "to the next dollar")],
                        default="flat",
                        max_length=12,
                        verbose_name="round-up rule",
                    ),
                ),
                (
                    "round_up_amount",
                    models.PositiveSmallIntegerField(
                        default=1,
                        help_text="Whole dollars (1 to 100) set aside for each purchase under the rule “flat”.",
                        verbose_name="round-up amount",
                    ),
                ),
                ("is_staff", models.BooleanField(default=False, verbose_name="staff")),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "erased_at",
                    models.DateTimeField(editable=False, help_text="When the personal data was erased.", null=True),
                ),
                ("session_generation", models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                (
                    "email_verified_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        null=True,
                        verbose_name="e-mail verified at",
                    ),
                ),
                (
                    "pending_email",
                    models.EmailField(blank=True, db_default="", default="", max_length=254, verbose_name="new e-mail"),
                ),
                (
                    "pending_email_verified_at",
                    models.DateTimeField(editable=False, null=True, verbose_name="new e-mail verified at"),
                ),
                ("email_change_at", models.DateTimeField(editable=False, null=True, verbose_name="e-mail changes at")),
                ("terms_version", models.CharField(blank=True, db_default="", default="", max_length=20)),
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
            options={
                "db_table": "users",
                "indexes": [
                    models.Index(fields=["account_type", "-id"], name="idx_users_account_type"),
                    models.Index(condition=models.Q(("is_staff", True)), fields=["-id"], name="idx_users_staff"),
                    models.Index(condition=models.Q(("is_active", False)), fields=["-id"], name="idx_users_inactive"),
                    models.Index(
                        condition=models.Q(("pending_email_verified_at__isnull", False)),
                        fields=["email_change_at"],
                        name="idx_users_email_change",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        django.db.models.functions.text.Lower("email"), name="users_email_unique_any_case"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("round_up_amount__gte", 1), ("round_up_amount__lte", 100)),
                        name="users_round_up_amount_1_to_100",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("round_up_rule__in", ["flat", "next_dollar"])),
                        name="users_round_up_rule_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AccountMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "email",
                    models.EmailField(
                        help_text="Invited address, in lower case.", max_length=254, verbose_name="e-mail"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        blank=True, default="", help_text="As the owner calls the member.", max_length=150
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("parent", "Parent"),
                            ("child", "Child"),
                            ("admin", "Admin"),
                            ("manager", "Manager"),
                            ("accountant", "Accountant"),
                            ("employee", "Employee"),
                            ("member", "Member"),
                        ],
                        default="member",
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("invited", "Invited"),
                            ("active", "Active"),
                            ("removed", "removed, left or declined"),
                        ],
                        default="invited",
                        max_length=7,
                    ),
                ),
                (
                    "shares_totals",
                    models.BooleanField(
                        default=False,
                        help_text="Whether the owner sees the value of the member's holdings and the total round-ups.",
                    ),
                ),
                ("digest", models.CharField(blank=True, default="", editable=False, max_length=64)),
                ("invited_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "sent_that_day",
                    models.PositiveSmallIntegerField(
                        default=0,
                        editable=False,
                        help_text="Invitations sent to the member on the day of the newest one.",
                    ),
                ),
                ("answered_at", models.DateTimeField(editable=False, null=True)),
                ("removed_at", models.DateTimeField(editable=False, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="members", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "member",
                "db_table": "account_members",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "active"), _negated=True),
                        fields=["invited_at"],
                        name="idx_account_members_expired",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "removed"), _negated=True),
                        fields=("owner", "email"),
                        name="account_members_once_per_email",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "removed"), _negated=True),
                        fields=("owner", "user"),
                        name="account_members_once_per_user",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "active"), _negated=True),
                            models.Q(("answered_at__isnull", False), ("user__isnull", False)),
                            _connector="OR",
                        ),
                        name="account_members_active_agreed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status", "active"), ("shares_totals", False), _connector="OR"),
                        name="account_members_only_active_share",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("user__isnull", True),
                            models.Q(("user", models.F("owner")), _negated=True),
                            _connector="OR",
                        ),
                        name="account_members_not_the_owner",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("email", django.db.models.functions.text.Lower("email"))),
                        name="account_members_email_lower_case",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["invited", "active", "removed"])),
                        name="account_members_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("role__in", ["parent", "child", "admin", "manager", "accountant", "employee", "member"])
                        ),
                        name="account_members_role_known",
                    ),
                ],
            },
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
            options={
                "db_table": "audit_events",
                "indexes": [
                    models.Index(fields=["user", "-id"], name="idx_audit_events_user"),
                    models.Index(fields=["kind", "-id"], name="idx_audit_events_kind"),
                    django.contrib.postgres.indexes.BrinIndex(
                        autosummarize=True, fields=["at"], name="idx_audit_events_at"
                    ),
                ],
            },
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
                            ("cancelled", "Cancelled"),
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
            options={
                "db_table": "background_tasks",
                "indexes": [
                    models.Index(fields=["-created_at"], name="idx_background_tasks_created"),
                    models.Index(fields=["status", "-created_at", "-id"], name="idx_background_tasks_status"),
                    models.Index(fields=["name", "-created_at"], name="idx_background_tasks_name"),
                    models.Index(
                        condition=models.Q(("status__in", ["queued", "running"])),
                        fields=["created_at"],
                        name="idx_background_tasks_open",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["queued", "running", "completed", "failed", "cancelled"])),
                        name="background_tasks_status_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BankAccount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("checking", "Checking"),
                            ("savings", "Savings"),
                            ("card", "Card"),
                            ("other", "Other"),
                        ],
                        default="other",
                        max_length=8,
                    ),
                ),
                ("currency", models.CharField(default="USD", max_length=3)),
                ("last_four", models.CharField(blank=True, default="", max_length=4, verbose_name="last digits")),
                ("name", models.CharField(blank=True, default="", max_length=100)),
                (
                    "digest",
                    models.CharField(
                        editable=False, help_text="Of the bank's number, or of the account's name.", max_length=32
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bank_accounts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "bank_accounts",
                "constraints": [models.UniqueConstraint(fields=("user", "digest"), name="bank_accounts_once_per_user")],
            },
        ),
        migrations.CreateModel(
            name="BrokerOrder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ticker", models.CharField(max_length=12)),
                ("side", models.CharField(choices=[("buy", "Buy"), ("sell", "Sell")], max_length=4)),
                ("shares", models.DecimalField(decimal_places=8, max_digits=20)),
                ("price", models.DecimalField(decimal_places=4, max_digits=14)),
                (
                    "amount",
                    models.DecimalField(decimal_places=2, help_text="Paid or received, in dollars.", max_digits=14),
                ),
                ("filled_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "broker_orders",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("side__in", ["buy", "sell"])), name="broker_orders_side_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0), ("price__gt", 0), ("shares__gt", 0)),
                        name="broker_orders_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BrokerPosition",
            fields=[
                ("ticker", models.CharField(max_length=12, primary_key=True, serialize=False)),
                ("shares", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                (
                    "cost_basis",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="At the amounts owed to customers, in dollars.",
                        max_digits=14,
                    ),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "broker_positions",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("shares__gte", 0)), name="broker_positions_not_negative")
                ],
            },
        ),
        migrations.CreateModel(
            name="Collection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="The day of booking.")),
                ("collected_to", models.BigIntegerField(help_text="Every earlier posting is collected.", unique=True)),
                ("customers", models.IntegerField()),
                (
                    "amount",
                    models.DecimalField(
                        decimal_places=2, help_text="Dollars.", max_digits=18, verbose_name="collected"
                    ),
                ),
                (
                    "returned",
                    models.DecimalField(
                        decimal_places=2, help_text="Dollars, to customers who had overpaid.", max_digits=18
                    ),
                ),
                ("collected_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "collections",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gte", 0), ("customers__gt", 0), ("returned__gte", 0)),
                        name="collections_not_negative",
                    )
                ],
            },
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
                    "details",
                    models.JSONField(
                        blank=True,
                        db_default=models.Value({}, models.JSONField()),
                        default=dict,
                        help_text="What else a front end stores about the goal: description, department, deadline, status.",
                    ),
                ),
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
            options={
                "db_table": "goals",
                "indexes": [models.Index(fields=["user", "-id"], name="idx_goals_user")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("target_amount__gt", 0)), name="goals_target_positive"),
                    models.CheckConstraint(
                        condition=models.Q(("current_amount__gte", 0)), name="goals_current_not_negative"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("goal_type__in", ["personal", "family", "business"])),
                        name="goals_type_known",
                    ),
                ],
            },
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
            options={
                "db_table": "holdings",
                "constraints": [
                    models.UniqueConstraint(fields=("user", "ticker"), name="holdings_one_per_ticker"),
                    models.CheckConstraint(
                        condition=models.Q(("cost_basis__gte", 0), ("shares__gte", 0)), name="holdings_not_negative"
                    ),
                ],
            },
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
            options={
                "db_table": "idempotency_keys",
                "indexes": [models.Index(fields=["created_at"], name="idx_idempotency_keys_created")],
                "constraints": [models.UniqueConstraint(fields=("user", "key"), name="idempotency_keys_once_per_user")],
            },
        ),
        migrations.CreateModel(
            name="ImportProfile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("layout", models.CharField(help_text="Digest of the headings.", max_length=32)),
                ("answers", models.JSONField(default=dict)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "bank_account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="transactions.bankaccount",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="import_profiles",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "import_profiles",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "bank_account", "layout"), name="import_profiles_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="JournalDraft",
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
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "changed_by",
                    models.ForeignKey(
                        blank=True,
                        help_text="Who last changed the draft.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "journal_drafts",
                "indexes": [models.Index(fields=["-entry_date", "-id"], name="idx_journal_drafts_date")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", Decimal("0"))), name="journal_drafts_amount_positive"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="JournalEntry",
            fields=[
                (
                    "id",
                    models.BigIntegerField(
                        help_text="The id of the draft.", primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
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
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("posted_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "changed_by",
                    models.ForeignKey(
                        blank=True,
                        help_text="Who last changed the draft.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "posted_by",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty if the entry was posted before this was recorded.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "journal entries",
                "db_table": "journal_entries",
                "indexes": [models.Index(fields=["-entry_date", "-id"], name="idx_journal_entries_date")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", Decimal("0"))), name="journal_entries_amount_positive"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="JournalReversal",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="reversal",
                        serialize=False,
                        to="transactions.journalentry",
                    ),
                ),
                ("reversed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "reversed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"db_table": "journal_reversals"},
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
                        ("date", models.DateTimeField(help_text="The day of booking.")),
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
                ("waiting_count", models.PositiveIntegerField(default=0, verbose_name="waiting")),
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
                    "decision_id",
                    models.BigIntegerField(
                        blank=True,
                        help_text="The current decision in `mapping_decisions`; empty if none is recorded there.",
                        null=True,
                        verbose_name="decision",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "merchants",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status__in", ["proposed", "rejected"])),
                        fields=["-review_priority", "id"],
                        name="idx_merchants_queue",
                    ),
                    models.Index(
                        condition=models.Q(("source", "ingest"), ("status", "proposed")),
                        fields=["id"],
                        name="idx_merchants_unproposed",
                    ),
                    models.Index(
                        condition=models.Q(("ticker__isnull", False)), fields=["ticker"], name="idx_merchants_ticker"
                    ),
                    models.Index(fields=["status", "-id"], name="idx_merchants_status"),
                    models.Index(fields=["source", "-id"], name="idx_merchants_source"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["proposed", "approved", "not_listed", "rejected"])),
                        name="merchants_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "approved"), _negated=True), ("ticker__isnull", False), _connector="OR"
                        ),
                        name="merchants_approved_has_ticker",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "not_listed"), _negated=True), ("ticker__isnull", True), _connector="OR"
                        ),
                        name="merchants_not_listed_has_no_ticker",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("confidence__isnull", True),
                            models.Q(("confidence__gte", 0), ("confidence__lte", 1)),
                            _connector="OR",
                        ),
                        name="merchants_confidence_0_to_1",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("waiting_amount__gte", 0)), name="merchants_waiting_amount_not_negative"
                    ),
                ],
            },
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
            options={
                "db_table": "migration_rejects",
                "indexes": [models.Index(fields=["table_name", "legacy_id"], name="idx_migration_rejects_row")],
            },
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
            options={
                "db_table": "notifications",
                "indexes": [models.Index(fields=["user", "-id"], name="idx_notifications_user_id")],
            },
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
            options={
                "db_table": "orders",
                "indexes": [
                    kamioi_site.db.indexes.NamedIndex(
                        django.db.models.functions.math.Mod(models.F("user_id"), 64),
                        models.F("id"),
                        condition=models.Q(("status", "queued")),
                        name="idx_orders_work",
                    ),
                    models.Index(
                        condition=models.Q(("status", "cancelled")), fields=["-id"], name="idx_orders_cancelled"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("user", "transaction_id"), name="orders_one_per_transaction"),
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="orders_amount_positive"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["queued", "executed", "cancelled"])),
                        name="orders_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "executed"), _negated=True),
                            models.Q(("executed_at__isnull", False), ("price__gt", 0), ("shares__gte", 0)),
                            _connector="OR",
                        ),
                        name="orders_executed_has_price",
                    ),
                ],
            },
        ),
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
        migrations.CreateModel(
            name="PlatformFee",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_day", models.DateField(unique=True)),
                (
                    "fee",
                    models.DecimalField(
                        decimal_places=2, help_text="Dollars for each purchase that invests.", max_digits=14
                    ),
                ),
                (
                    "max_share",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="The fee is at most this share of the round-up.",
                        max_digits=5,
                        verbose_name="maximum share",
                    ),
                ),
                ("set_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "set_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "platform_fees",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("fee__gte", 0)), name="platform_fees_not_negative"),
                    models.CheckConstraint(
                        condition=models.Q(("max_share__range", (0, 1))), name="platform_fees_share_in_bounds"
                    ),
                ],
            },
        ),
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
                        default=Decimal("0"),
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
        migrations.CreateModel(
            name="StatementImport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("filename", models.CharField(max_length=255)),
                ("file", models.FileField(upload_to="statements/%Y/%m/")),
                ("size", models.BigIntegerField(default=0)),
                ("rows_done", models.BigIntegerField(default=0)),
                ("rows_added", models.BigIntegerField(default=0)),
                ("rows_duplicate", models.BigIntegerField(default=0, verbose_name="duplicates")),
                ("rows_rejected", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "answers",
                    models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
                ),
                ("first_date", models.DateTimeField(blank=True, null=True)),
                ("last_date", models.DateTimeField(blank=True, null=True)),
                ("undone_at", models.DateTimeField(blank=True, null=True)),
                (
                    "rows_deleted",
                    models.BigIntegerField(db_default=0, default=0, help_text="Removed by the undo: never invested."),
                ),
                (
                    "rows_reversed",
                    models.BigIntegerField(db_default=0, default=0, help_text="Reversed in the ledger by the undo."),
                ),
                ("rows_held", models.BigIntegerField(db_default=0, default=0, verbose_name="possible duplicates")),
                (
                    "is_account_chosen",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="A person chose the account; otherwise the file's name has it.",
                    ),
                ),
                (
                    "layout",
                    models.CharField(
                        blank=True, db_default="", default="", help_text="Digest of the headings.", max_length=32
                    ),
                ),
                (
                    "bank_account",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Of all its rows; empty where the rows name their account, or nothing does.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="transactions.bankaccount",
                    ),
                ),
                (
                    "repeats",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="The import of the same file that this one replaces.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="transactions.statementimport",
                    ),
                ),
                (
                    "task",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="statement",
                        to="transactions.backgroundtask",
                    ),
                ),
                (
                    "undo_task",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
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
            options={
                "db_table": "statement_imports",
                "indexes": [
                    models.Index(fields=["user", "-id"], name="idx_statement_imports_user"),
                    models.Index(fields=["user", "created_at"], name="idx_statement_imports_quota"),
                    models.Index(
                        condition=models.Q(("file", ""), _negated=True),
                        fields=["created_at"],
                        name="idx_statement_imports_files",
                    ),
                ],
            },
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
            options={
                "db_table": "statement_rejects",
                "constraints": [
                    models.UniqueConstraint(fields=("statement", "row_number"), name="statement_rejects_once_per_row")
                ],
            },
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
                                decimal_places=2, default=Decimal("0"), max_digits=14, verbose_name="round-up"
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
                                    ("on_hold", "on hold"),
                                    ("excluded", "not a purchase"),
                                    ("failed", "Failed"),
                                    ("refunded", "refund, nothing invested"),
                                    ("undone", "undone with its import"),
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
                                choices=[
                                    (0, "a customer's own purchase"),
                                    (3, "released by a reviewer"),
                                    (4, "booked again by a correction"),
                                    (9, "bulk"),
                                ],
                                default=0,
                            ),
                        ),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                        ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                        (
                            "row_class",
                            models.CharField(
                                blank=True,
                                choices=[
                                    ("", "purchase or refund"),
                                    ("transfer", "transfer"),
                                    ("card_payment", "card payment"),
                                    ("investment", "broker or savings"),
                                    ("loan", "loan payment"),
                                    ("tax", "tax"),
                                    ("rent", "rent"),
                                    ("deposit", "deposit"),
                                    ("interest", "interest"),
                                    ("fee", "fee"),
                                    ("cash", "cash"),
                                    ("duplicate", "same purchase as another"),
                                    ("withdrawn", "deleted by the bank"),
                                ],
                                db_default="",
                                default="",
                                max_length=16,
                                verbose_name="class",
                            ),
                        ),
                        (
                            "statement_id",
                            models.BigIntegerField(
                                blank=True,
                                help_text="The import that stored this row.",
                                null=True,
                                verbose_name="import",
                            ),
                        ),
                        (
                            "related_id",
                            models.BigIntegerField(
                                blank=True,
                                help_text="The purchase that this row refunds or probably repeats; of a refunded purchase, its refund.",
                                null=True,
                                verbose_name="related purchase",
                            ),
                        ),
                        ("bank_account_id", models.BigIntegerField(blank=True, null=True, verbose_name="bank account")),
                        (
                            "bank_reference",
                            models.BigIntegerField(
                                blank=True, help_text="Digest of the bank's id of this row.", null=True
                            ),
                        ),
                        (
                            "fee_cents",
                            models.SmallIntegerField(
                                blank=True, help_text="The fee in cents, fixed when the purchase is stored.", null=True
                            ),
                        ),
                        (
                            "round_up_cents",
                            models.SmallIntegerField(
                                blank=True,
                                help_text="The round-up in cents, fixed when the purchase is stored.",
                                null=True,
                            ),
                        ),
                        (
                            "decision_id",
                            models.BigIntegerField(
                                blank=True,
                                help_text="The decision on the merchant by which this row was settled.",
                                null=True,
                                verbose_name="decision",
                            ),
                        ),
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
            name="PossibleDuplicate",
            fields=[],
            options={"verbose_name": "possible duplicate", "proxy": True},
            bases=("transactions.transaction",),
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
                ("round_up", models.DecimalField(decimal_places=2, max_digits=18, verbose_name="round-up")),
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
                (
                    "idempotency_key",
                    models.CharField(help_text="None for a row of the legacy system.", max_length=128, null=True),
                ),
                ("transaction_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("date", models.DateTimeField()),
                ("fingerprint", models.UUIDField(help_text="Hash of the API request with this key.", null=True)),
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
            options={
                "db_table": "transaction_keys",
                "constraints": [
                    models.UniqueConstraint(fields=("user", "idempotency_key"), name="transaction_keys_once_per_user")
                ],
            },
        ),
        migrations.CreateModel(
            name="UnmatchedRefund",
            fields=[
                ("transaction_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("date", models.DateTimeField()),
                ("merchant_key", models.CharField(max_length=120)),
                ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                (
                    "is_checked",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="False until matched again: it is new, or a purchase came later.",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "unmatched_refunds",
                "verbose_name": "refund without purchase",
                "verbose_name_plural": "refunds without purchase",
                "indexes": [
                    models.Index(fields=["user", "merchant_key"], name="idx_unmatched_refunds_user"),
                    models.Index(
                        condition=models.Q(("is_checked", False)), fields=["user"], name="idx_unmatched_refunds_open"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__lt", 0)), name="unmatched_refunds_amount_negative"
                    )
                ],
            },
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
            options={
                "db_table": "user_settings",
                "constraints": [
                    models.UniqueConstraint(fields=("user", "setting_key"), name="user_settings_once_per_user")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="ledgertransfer",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("kind__in", ("round_up", "fee", "purchase")), _negated=True),
                fields=["-date", "-id"],
                name="idx_ledger_transfers_unusual",
            ),
        ),
        migrations.AddIndex(
            model_name="ledgertransfer",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["created_at", "id"], name="idx_ledger_transfers_stored"
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransfer",
            constraint=models.UniqueConstraint(
                fields=("user_id", "transaction_id", "kind", "date"), name="ledger_transfers_booked_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="ledger_transfers_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(("debit_account", models.F("credit_account")), _negated=True),
                name="ledger_transfers_two_accounts",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("credit_account", "20100"),
                        ("debit_account", "11100"),
                        ("kind__in", ["round_up", "round_up_2", "round_up_3", "round_up_4", "round_up_5"]),
                    ),
                    models.Q(
                        ("credit_account", "40100"),
                        ("debit_account", "11100"),
                        ("kind__in", ["fee", "fee_2", "fee_3", "fee_4", "fee_5"]),
                    ),
                    models.Q(
                        ("credit_account", "22100"),
                        ("debit_account", "20100"),
                        ("kind__in", ["purchase", "purchase_2", "purchase_3", "purchase_4", "purchase_5"]),
                    ),
                    models.Q(("credit_account", "22100"), ("debit_account", "30900"), ("kind__in", ["opening"])),
                    models.Q(
                        ("credit_account", "10100"),
                        ("debit_account", "11100"),
                        ("kind__in", ["uncollected", "returned"]),
                    ),
                    models.Q(("credit_account", "11100"), ("debit_account", "10100"), ("kind__in", ["collection"])),
                    models.Q(("credit_account", "10100"), ("debit_account", "10200"), ("kind__in", ["broker_cash"])),
                    models.Q(("credit_account", "10200"), ("debit_account", "10100"), ("kind__in", ["broker_cash"])),
                    models.Q(("credit_account", "10200"), ("debit_account", "12100"), ("kind__in", ["broker_buy"])),
                    models.Q(("credit_account", "12100"), ("debit_account", "10200"), ("kind__in", ["broker_sell"])),
                    models.Q(("credit_account", "12100"), ("debit_account", "67040"), ("kind__in", ["broker_diff"])),
                    models.Q(("credit_account", "67040"), ("debit_account", "12100"), ("kind__in", ["broker_diff"])),
                    models.Q(("credit_account", "12100"), ("debit_account", "67050"), ("kind__in", ["correction"])),
                    models.Q(("credit_account", "67050"), ("debit_account", "12100"), ("kind__in", ["correction"])),
                    models.Q(("credit_account", "15100"), ("debit_account", "67010"), ("kind__in", ["amortization"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "67010"), ("kind__in", ["amortization"])),
                    models.Q(("credit_account", "67010"), ("debit_account", "15100"), ("kind__in", ["amort_reversal"])),
                    models.Q(("credit_account", "67010"), ("debit_account", "15200"), ("kind__in", ["amort_reversal"])),
                    models.Q(("credit_account", "10100"), ("debit_account", "15200"), ("kind__in", ["capitalize"])),
                    models.Q(("credit_account", "15100"), ("debit_account", "67020"), ("kind__in", ["impairment"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "15100"), ("kind__in", ["disposal"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "10100"), ("kind__in", ["disposal"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "67030"), ("kind__in", ["disposal"])),
                    models.Q(("credit_account", "40200"), ("debit_account", "15200"), ("kind__in", ["disposal"])),
                    models.Q(
                        ("credit_account", "11100"),
                        ("debit_account", "20100"),
                        (
                            "kind__in",
                            [
                                "undo_round_up",
                                "undo_round_up_2",
                                "undo_round_up_3",
                                "undo_round_up_4",
                                "undo_round_up_5",
                            ],
                        ),
                    ),
                    models.Q(
                        ("credit_account", "11100"),
                        ("debit_account", "40100"),
                        ("kind__in", ["undo_fee", "undo_fee_2", "undo_fee_3", "undo_fee_4", "undo_fee_5"]),
                    ),
                    models.Q(
                        ("credit_account", "20100"),
                        ("debit_account", "22100"),
                        (
                            "kind__in",
                            [
                                "undo_purchase",
                                "undo_purchase_2",
                                "undo_purchase_3",
                                "undo_purchase_4",
                                "undo_purchase_5",
                            ],
                        ),
                    ),
                    models.Q(
                        models.Q(("debit_account__in", ["11100", "12100", "20100", "22100"]), _negated=True),
                        models.Q(("credit_account__in", ["11100", "12100", "20100", "22100"]), _negated=True),
                        ("kind__in", ("journal_entry", "journal_reverse")),
                    ),
                    ("kind", "journal"),
                    _connector="OR",
                ),
                name="ledger_transfers_posting_rule",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        (
                            "kind__in",
                            (
                                "purchase",
                                "opening",
                                "broker_buy",
                                "broker_sell",
                                "broker_diff",
                                "correction",
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
                                    "broker_buy",
                                    "broker_sell",
                                    "broker_diff",
                                    "correction",
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
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("related_id__isnull", False), ("status", "on_hold")),
                fields=["user", "-date", "-id"],
                name="idx_transactions_duplicates",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("status__in", ["completed", "mapped", "awaiting_price", "not_listed"])),
                fields=["merchant_key", "decision_id"],
                name="idx_transactions_decided",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(
                    (
                        "failure_reason__in",
                        [
                            "The limit for the purchases of one day is reached.",
                            "The monthly limit is reached.",
                            "The limit on the balance owed is reached.",
                        ],
                    ),
                    ("status", "on_hold"),
                ),
                fields=["user", "date", "id"],
                name="idx_transactions_over_limit",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["id"], name="idx_transactions_id"
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
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "on_hold"), _negated=True),
                    models.Q(("failure_reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="transactions_on_hold_has_reason",
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
                            "on_hold",
                            "excluded",
                            "failed",
                            "refunded",
                            "undone",
                        ],
                    )
                ),
                name="transactions_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ["excluded", "undone"]), _negated=True),
                    models.Q(("fee", 0), ("investable", 0), ("round_up", 0)),
                    _connector="OR",
                ),
                name="transactions_excluded_invests_nothing",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "completed"), _negated=True),
                    ("investable", 0),
                    models.Q(
                        (
                            "fee_cents",
                            django.db.models.expressions.CombinedExpression(models.F("fee"), "*", models.Value(100)),
                        ),
                        (
                            "round_up_cents",
                            django.db.models.expressions.CombinedExpression(
                                models.F("round_up"), "*", models.Value(100)
                            ),
                        ),
                    ),
                    _connector="OR",
                ),
                name="transactions_booked_as_stored",
            ),
        ),
        RunSQLFile(__file__, "0001_money.sql"),
        RunSQLFile(__file__, "0001_limits.sql"),
        RunSQLFile(__file__, "0001_triggers.sql"),
        RunSQLFile(__file__, "0001_periods.sql"),
        RunSQLFile(__file__, "0001_similar_merchants.sql"),
        RunSQLFile(__file__, "0001_company_words.sql"),
        RunSQLFile(__file__, "0001_statement_fingerprints.sql"),
        RunSQLFile(__file__, "0001_legacy.sql"),
        RunSQLFile(__file__, "0001_reference_data.sql"),
        seed_schedule(SCHEDULE),
    ]
