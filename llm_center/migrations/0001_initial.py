"""The mapping log, decisions, data assets and the roles of staff."""

from decimal import Decimal
from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import ProgrammingError, migrations, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import kamioi_site.db.indexes
from kamioi_site.db.seed import seed_roles, seed_schedule
from kamioi_site.db.sql_migrations import RunSQLFile

SCHEDULE = {
    "process_llm_queue": ("*/5 * * * *", {"expire_seconds": 300}),
    "monthly_llm_amortization": ("1 0 1 * *", {}),
    "refit_calibration": ("30 3 * * *", {"expire_seconds": 3600}),
    "recheck_directory": ("0 4 * * *", {"expire_seconds": 3600}),
}

# Group → permissions; None for all. Customers need none.
ROLES = {
    "finance": (
        "llm_center.add_amortizationentry llm_center.add_llmdataasset llm_center.change_amortizationentry "
        "llm_center.change_llmdataasset llm_center.view_amortizationentry llm_center.view_assetevent "
        "llm_center.view_llmdataasset transactions.add_journalentry transactions.close_period "
        "transactions.reopen_period transactions.view_backgroundtask transactions.view_brokerorder "
        "transactions.view_brokerposition transactions.view_collection transactions.view_detachedpartition "
        "transactions.view_holding transactions.view_journaldraft transactions.view_journalentry "
        "transactions.view_ledgeraccount transactions.view_ledgerseal transactions.view_ledgertransfer "
        "transactions.view_order transactions.view_periodclosing transactions.view_platformfee "
        "transactions.view_receivable transactions.view_setting transactions.view_transaction "
        "transactions.view_unmatchedrefund transactions.view_user"
    ).split(),
    "operator": (
        "admin.view_logentry axes.delete_accessattempt axes.view_accessattempt "
        "django_celery_beat.change_periodictask django_celery_beat.view_crontabschedule "
        "django_celery_beat.view_intervalschedule django_celery_beat.view_periodictask llm_center.view_llmcall "
        "llm_center.view_mappingimport llm_center.view_proposalclaim transactions.add_statementimport "
        "transactions.change_backgroundtask transactions.change_migrationreject "
        "transactions.change_possibleduplicate transactions.change_statementimport transactions.view_accountmember "
        "transactions.view_backgroundtask transactions.view_bankaccount transactions.view_company "
        "transactions.view_importprofile transactions.view_merchant transactions.view_migrationreject "
        "transactions.view_migrationrun transactions.view_notification transactions.view_order "
        "transactions.view_platformfee transactions.view_possibleduplicate transactions.view_setting "
        "transactions.view_statementimport transactions.view_statementreject transactions.view_stockprice "
        "transactions.view_transaction transactions.view_unmatchedrefund transactions.view_user waffle.change_flag "
        "waffle.view_flag"
    ).split(),
    "reviewer": (
        "llm_center.add_cataloguebrand llm_center.add_mappingimport llm_center.change_cataloguebrand "
        "llm_center.change_reviewmerchant llm_center.view_calibrationfit llm_center.view_cataloguebrand "
        "llm_center.view_llmcall llm_center.view_llmmapping llm_center.view_mappingdecision "
        "llm_center.view_mappingimport llm_center.view_mappingimportreject llm_center.view_pendingdecision "
        "llm_center.view_reviewmerchant transactions.view_backgroundtask transactions.view_company "
        "transactions.view_merchant transactions.view_stockprice transactions.view_transaction"
    ).split(),
    "customer": (),
}

_EXTENSION = "SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'"
# `llm_center/sql/search_merchants.sql` repeats the expression.
_INDEX = """
    CREATE INDEX {concurrently} IF NOT EXISTS idx_merchants_search ON merchants USING gin (
        (merchant_key || ' ' || display_name || ' ' || coalesce(ticker, '') || ' ' || company_name || ' ' || category)
        gin_trgm_ops
    )
"""


def add_search_index(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    """Build the index; a server without the extension, or an owner who may not create it, searches by prefix."""
    connection = editor.connection
    with connection.cursor() as cursor:
        cursor.execute(_EXTENSION)
        if cursor.fetchone() is None:
            return
        try:
            with transaction.atomic(using=connection.alias):
                cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        except ProgrammingError:
            return
    concurrently = "" if connection.in_atomic_block else "CONCURRENTLY"
    # An interrupted build leaves an invalid index under this name.
    editor.execute(f"DROP INDEX {concurrently} IF EXISTS idx_merchants_search", params=None)
    editor.execute(_INDEX.format(concurrently=concurrently), params=None)


def drop_search_index(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the index; the extension stays, because something else may use it."""
    editor.execute("DROP INDEX IF EXISTS idx_merchants_search", params=None)


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("transactions", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("waffle", "0004_update_everyone_nullbooleanfield"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("axes", "0010_accessattemptexpiration"),
        ("otp_totp", "0003_add_timestamps"),
    ]

    operations = [
        migrations.CreateModel(
            name="MappingDelta",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="UTC date of `created_at`.")),
                ("status", models.CharField(max_length=10)),
                ("source", models.CharField(max_length=10)),
                ("automatic", models.BooleanField()),
                ("rows", models.IntegerField()),
                ("confidence", models.DecimalField(decimal_places=4, help_text="Sum over the rows.", max_digits=18)),
                ("writes", models.IntegerField()),
            ],
            options={"db_table": "mapping_deltas"},
        ),
        migrations.CreateModel(
            name="ProposalClaim",
            fields=[
                (
                    "merchant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="transactions.merchant",
                    ),
                ),
                ("claimed_at", models.DateTimeField()),
            ],
            options={"db_table": "proposal_claims"},
        ),
        migrations.CreateModel(
            name="ReviewMerchant",
            fields=[],
            options={
                "verbose_name": "merchant to review",
                "verbose_name_plural": "review queue",
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("transactions.merchant",),
        ),
        migrations.CreateModel(
            name="CalibrationFit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(choices=[("matcher", "matcher"), ("llm", "LLM")], max_length=10)),
                ("points", models.JSONField(help_text="Pairs of stated and calibrated confidence.")),
                ("observations", models.PositiveIntegerField(help_text="Answers that reviewers decided.")),
                ("brier_before", models.FloatField(help_text="Mean squared error as stated; 0 is best.", null=True)),
                ("brier_after", models.FloatField(help_text="The same after calibration.", null=True)),
                ("fitted_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "calibration_fits",
                "indexes": [models.Index(fields=["source", "-id"], name="idx_calibration_fits_newest")],
            },
        ),
        migrations.CreateModel(
            name="CatalogueBrand",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200, unique=True)),
                (
                    "aliases",
                    models.JSONField(blank=True, default=list, help_text="Other spellings used on statements."),
                ),
                ("owner", models.CharField(blank=True, max_length=200)),
                (
                    "ticker",
                    models.CharField(
                        blank=True, help_text="Ticker of the listed company that owns the brand.", max_length=12
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "listed"),
                            ("private", "Private"),
                            ("family", "Family"),
                            ("cooperative", "co-operative"),
                            ("mutual", "owned by its members"),
                            ("state", "State"),
                            ("government", "state, city or authority"),
                            ("otc", "over the counter or abroad only"),
                            ("not-a-purchase", "money moved, not spent"),
                            ("unknown", "not researched"),
                        ],
                        help_text="Why there is no ticker.",
                        max_length=20,
                    ),
                ),
                ("category", models.CharField(blank=True, max_length=100)),
                ("source", models.CharField(blank=True, max_length=100)),
                (
                    "as_of",
                    models.CharField(
                        "as of",
                        max_length=10,
                        blank=True,
                        default="",
                        db_default="",
                        help_text="When the owner was looked up: 2026-10.",
                    ),
                ),
                (
                    "edited",
                    models.BooleanField(
                        db_default=False, default=False, help_text="Edited manually: imports do not change it."
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name": "brand",
                "db_table": "catalogue_brands",
                "ordering": ["name"],
                "indexes": [models.Index(fields=["-updated_at"], name="idx_catalogue_brands_updated")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(models.Q(("ticker", ""), _negated=True), ("reason", "")),
                            models.Q(("ticker", ""), models.Q(("reason", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="catalogue_brands_ticker_or_reason",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LlmCall",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("provider", models.CharField(max_length=20)),
                ("model", models.CharField(blank=True, max_length=100)),
                ("merchants", models.PositiveIntegerField(help_text="Merchants in the request.")),
                ("prompt_tokens", models.PositiveIntegerField(default=0)),
                ("completion_tokens", models.PositiveIntegerField(default=0)),
                (
                    "cost",
                    models.DecimalField(decimal_places=6, default=Decimal("0"), help_text="Dollars.", max_digits=12),
                ),
                ("duration_ms", models.PositiveIntegerField(default=0, verbose_name="duration (ms)")),
                ("retries", models.PositiveSmallIntegerField(default=0)),
                ("error", models.CharField(blank=True, help_text="Why it failed; empty on success.", max_length=300)),
            ],
            options={
                "verbose_name": "LLM call",
                "db_table": "llm_calls",
                "indexes": [models.Index(fields=["-started_at"], name="idx_llm_calls_started_at")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("cost__gte", 0)), name="llm_calls_cost_not_negative")
                ],
            },
        ),
        migrations.CreateModel(
            name="LlmDataAsset",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("asset_name", models.CharField(max_length=200)),
                ("asset_type", models.CharField(max_length=30)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("development", "Development"),
                            ("production", "in service"),
                            ("disposed", "disposed of"),
                        ],
                        default="development",
                        max_length=20,
                    ),
                ),
                (
                    "cost_basis",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="Total cost, including all components.",
                        max_digits=14,
                    ),
                ),
                (
                    "salvage_value",
                    models.DecimalField(
                        db_default=Decimal("0"),
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="Value at the end of the useful life; never amortized.",
                        max_digits=14,
                    ),
                ),
                (
                    "current_value",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="Estimated value; not in the ledger.",
                        max_digits=14,
                    ),
                ),
                ("useful_life_months", models.PositiveSmallIntegerField(default=36)),
                ("in_service_on", models.DateField(blank=True, help_text="Amortized from this month on.", null=True)),
                ("model_version", models.CharField(blank=True, max_length=100)),
                ("gl_account", models.CharField(default="15200", max_length=10, verbose_name="GL account")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name": "LLM data asset",
                "db_table": "llm_data_assets",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("cost_basis__gte", 0)), name="llm_data_assets_cost_not_negative"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("useful_life_months__gte", 1)), name="llm_data_assets_life_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("salvage_value__gte", 0), ("salvage_value__lte", models.F("cost_basis"))),
                        name="llm_data_assets_salvage_within_cost",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MappingImport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("filename", models.CharField(max_length=255)),
                ("note", models.CharField(blank=True, help_text="Source of the file.", max_length=200)),
                ("file", models.FileField(upload_to="mappings/%Y/%m/")),
                ("size", models.BigIntegerField(default=0)),
                (
                    "sha256",
                    models.CharField(help_text="Prevents importing the same file twice.", max_length=64, unique=True),
                ),
                ("rows_done", models.BigIntegerField(default=0)),
                ("rows_added", models.BigIntegerField(default=0)),
                ("rows_rejected", models.BigIntegerField(default=0)),
                ("merchants_approved", models.BigIntegerField(verbose_name="approved", default=0)),
                (
                    "merchants_kept",
                    models.BigIntegerField(verbose_name="kept", default=0, help_text="Kept as a reviewer decided."),
                ),
                (
                    "merchants_review",
                    models.BigIntegerField(
                        verbose_name="to review", default=0, help_text="Contradicted or ambiguous: sent to review."
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "task",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="mappings",
                        to="transactions.backgroundtask",
                    ),
                ),
            ],
            options={"db_table": "mapping_imports"},
        ),
        migrations.CreateModel(
            name="PendingDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("approve", "Approve"),
                            ("correct", "correct the ticker"),
                            ("not_listed", "not listed"),
                            ("reject", "Reject"),
                            ("undo", "Undo"),
                        ],
                        max_length=12,
                    ),
                ),
                ("ticker", models.CharField(blank=True, max_length=12)),
                (
                    "include_booked",
                    models.BooleanField(
                        "also what was booked",
                        default=False,
                        db_default=False,
                        help_text="Whether booked purchases are corrected too.",
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("requested_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "merchant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pending_decision",
                        to="transactions.merchant",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"db_table": "pending_decisions"},
        ),
        migrations.CreateModel(
            name="AssetEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("cost", "Cost"), ("impairment", "Impairment"), ("disposal", "Disposal")],
                        max_length=10,
                    ),
                ),
                (
                    "component",
                    models.CharField(
                        blank=True,
                        help_text="Kind of cost: computing, data, labelling, staff, licences …",
                        max_length=60,
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                ("dated_on", models.DateField()),
                ("note", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="events", to="llm_center.llmdataasset"
                    ),
                ),
            ],
            options={
                "verbose_name": "asset event",
                "verbose_name_plural": "asset events",
                "db_table": "llm_asset_events",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("amount__gte", 0), ("kind", "disposal")),
                            models.Q(("amount__gt", 0), ("kind__in", ["cost", "impairment"])),
                            _connector="OR",
                        ),
                        name="llm_asset_events_amount_fits_kind",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "disposal")),
                        fields=("asset",),
                        name="llm_asset_events_disposed_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AmortizationEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period", models.DateField(help_text="First day of the month.")),
                ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                ("credit_account", models.CharField(db_default="15100", default="15100", max_length=10)),
                ("transfer_id", models.BigIntegerField(blank=True, help_text="ID of the ledger transfer.", null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="amortization",
                        to="llm_center.llmdataasset",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "amortization entries",
                "db_table": "amortization_entries",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="amortization_entries_amount_positive"
                    )
                ],
            },
        ),
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
        migrations.AddConstraint(
            model_name="amortizationentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("replaces", None)),
                fields=("asset", "period"),
                name="amortization_entries_once_per_month",
            ),
        ),
        # The table is created in SQL: Django supports neither PARTITION BY nor the composite key.
        migrations.SeparateDatabaseAndState(
            database_operations=[RunSQLFile(__file__, "0001_llm_mappings.sql")],
            state_operations=[
                migrations.CreateModel(
                    name="LlmMapping",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        ("transaction_id", models.BigIntegerField(blank=True, null=True)),
                        ("merchant_name", models.CharField(max_length=255)),
                        ("merchant_key", models.CharField(max_length=120)),
                        ("ticker", models.CharField(blank=True, max_length=12, null=True)),
                        ("category", models.CharField(blank=True, default="", max_length=100)),
                        ("confidence", models.DecimalField(decimal_places=4, default=Decimal("0"), max_digits=5)),
                        (
                            "status",
                            models.CharField(
                                choices=[("pending", "Pending"), ("approved", "Approved"), ("rejected", "Rejected")],
                                default="pending",
                                max_length=10,
                            ),
                        ),
                        ("admin_approved", models.BooleanField(default=False)),
                        ("ai_processed", models.BooleanField(verbose_name="AI processed", default=False)),
                        ("company_name", models.CharField(blank=True, default="", max_length=200)),
                        (
                            "source",
                            models.CharField(
                                choices=[
                                    ("user", "User"),
                                    ("bulk", "Bulk"),
                                    ("matcher", "Matcher"),
                                    ("llm", "LLM"),
                                    ("admin", "Admin"),
                                    ("legacy", "Legacy"),
                                ],
                                max_length=10,
                            ),
                        ),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                        (
                            "ai_model_version",
                            models.CharField(verbose_name="model version", blank=True, default="", max_length=100),
                        ),
                        ("ai_reasoning", models.TextField(verbose_name="AI reasoning", blank=True, default="")),
                        ("ai_auto_approved", models.BooleanField(verbose_name="auto-approved", default=False)),
                        (
                            "ai_processing_ms",
                            models.PositiveIntegerField(verbose_name="AI processing (ms)", blank=True, null=True),
                        ),
                        ("ai_decided_at", models.DateTimeField(verbose_name="AI decided at", blank=True, null=True)),
                        (
                            "decided_by",
                            models.ForeignKey(
                                blank=True,
                                db_constraint=False,
                                db_index=False,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                blank=True,
                                db_constraint=False,
                                db_index=False,
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "LLM mapping",
                        "db_table": "llm_mappings",
                        "indexes": [
                            kamioi_site.db.indexes.NamedIndex(
                                condition=models.Q(
                                    ("admin_approved", False), models.Q(("source", "bulk"), _negated=True)
                                ),
                                fields=["id"],
                                name="idx_llm_mappings_pending",
                            )
                        ],
                    },
                )
            ],
        ),
        migrations.CreateModel(
            name="MappingDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("merchant_key", models.CharField(db_index=True, max_length=120)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("approve", "Approve"),
                            ("correct", "correct the ticker"),
                            ("not_listed", "not listed"),
                            ("reject", "Reject"),
                            ("undo", "Undo"),
                        ],
                        max_length=12,
                    ),
                ),
                ("before", models.JSONField()),
                ("after", models.JSONField()),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("automatic", models.BooleanField(default=False)),
                ("released_count", models.PositiveIntegerField(verbose_name="released", default=0)),
                (
                    "corrected_count",
                    models.PositiveIntegerField(
                        "corrected",
                        default=0,
                        db_default=0,
                        help_text="Booked purchases that the decision corrects too.",
                    ),
                ),
                (
                    "waited_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Time in the review queue before the decision; empty if it was not in the queue.",
                        null=True,
                    ),
                ),
                ("decided_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "first_reviewer",
                    models.ForeignKey(
                        blank=True,
                        help_text="The first of two reviewers, where two must agree.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "undoes",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="undone_by",
                        to="llm_center.mappingdecision",
                    ),
                ),
            ],
            options={
                "db_table": "mapping_decisions",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("action__in", ["approve", "correct", "not_listed", "reject", "undo"])),
                        name="mapping_decisions_action_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("automatic", True), ("decided_by__isnull", False), _connector="OR"),
                        name="mapping_decisions_somebody_decided",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MappingImportKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("merchant_key", models.CharField(max_length=120)),
                ("ticker", models.CharField(max_length=12)),
                ("display_name", models.CharField(max_length=255)),
                ("category", models.CharField(blank=True, max_length=100)),
                ("confidence", models.DecimalField(decimal_places=4, max_digits=5)),
                ("count", models.PositiveIntegerField(default=1)),
                (
                    "mapping_import",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="keys",
                        to="llm_center.mappingimport",
                    ),
                ),
            ],
            options={
                "db_table": "mapping_import_keys",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("mapping_import", "merchant_key", "ticker"), name="mapping_import_keys_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="MappingImportReject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("row_number", models.BigIntegerField()),
                ("field", models.CharField(max_length=30)),
                ("reason", models.CharField(max_length=255)),
                ("raw", models.TextField(blank=True)),
                (
                    "mapping_import",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rejects",
                        to="llm_center.mappingimport",
                    ),
                ),
            ],
            options={
                "db_table": "mapping_import_rejects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("mapping_import", "row_number"), name="mapping_import_rejects_once_per_row"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            "llmmapping",
            kamioi_site.db.indexes.NamedIndex(fields=["status", "-created_at"], name="idx_llm_mappings_status_created"),
        ),
        migrations.AddIndex(
            "llmmapping",
            kamioi_site.db.indexes.NamedIndex(
                condition=models.Q(("admin_approved", False)),
                fields=["admin_approved"],
                name="idx_llm_mappings_admin_approved",
            ),
        ),
        migrations.AddIndex(
            "llmmapping",
            kamioi_site.db.indexes.NamedIndex(fields=["user", "status"], name="idx_llm_mappings_user_id_status"),
        ),
        migrations.AddIndex(
            "llmmapping",
            kamioi_site.db.indexes.NamedIndex(
                fields=["merchant_name", "ticker"], name="idx_llm_mappings_merchant_ticker"
            ),
        ),
        migrations.AddIndex(
            "llmmapping", kamioi_site.db.indexes.NamedIndex(fields=["-created_at"], name="idx_llm_mappings_created_at")
        ),
        migrations.AddIndex(
            "llmmapping",
            kamioi_site.db.indexes.NamedIndex(fields=["merchant_key"], name="idx_llm_mappings_merchant_key"),
        ),
        migrations.AddConstraint(
            "llmmapping",
            models.CheckConstraint(
                condition=models.Q(("status__in", ["pending", "approved", "rejected"])),
                name="llm_mappings_status_known",
            ),
        ),
        migrations.AddConstraint(
            "llmmapping",
            models.CheckConstraint(
                condition=models.Q(("confidence__gte", 0), ("confidence__lte", 1)),
                name="llm_mappings_confidence_0_to_1",
            ),
        ),
        migrations.AddConstraint(
            "llmmapping",
            models.CheckConstraint(
                condition=models.Q(("source__in", ["user", "bulk", "matcher", "llm", "admin", "legacy"])),
                name="llm_mappings_source_known",
            ),
        ),
        migrations.RunPython(add_search_index, drop_search_index),
        RunSQLFile(__file__, "0001_reference_data.sql"),
        seed_schedule(SCHEDULE),
        seed_roles(ROLES),
    ]
