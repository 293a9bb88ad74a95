"""Rollups: daily totals, kept up to date by the changes of each write (`analytics.services.rollups`).

Dashboards, reports and metrics read views over these tables (`migrations/sql/0001_views.sql`).
"""

from django.db import models
from django.utils import timezone


class TransactionDay(models.Model):
    """Totals of a purchase day (UTC) by status and ticker; amounts in dollars."""

    day = models.DateField()
    status = models.CharField(max_length=16)
    ticker = models.CharField(max_length=12, blank=True, help_text="Empty if there is none.")
    rows = models.BigIntegerField()
    amount = models.DecimalField(max_digits=18, decimal_places=2)
    round_up = models.DecimalField("round-up", max_digits=18, decimal_places=2)
    fee = models.DecimalField(max_digits=18, decimal_places=2)
    investable = models.DecimalField(max_digits=18, decimal_places=2)

    class Meta:
        db_table = "transaction_days"
        constraints = [models.UniqueConstraint(fields=["day", "status", "ticker"], name="transaction_days_key")]

    def __str__(self) -> str:
        return f"{self.day} {self.status} {self.ticker}"


class CustomerMonth(models.Model):
    """A customer's number of transactions in a month (UTC, by purchase date)."""

    month = models.DateField()
    user = models.ForeignKey(
        "transactions.User", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    rows = models.BigIntegerField()

    class Meta:
        db_table = "customer_months"
        constraints = [models.UniqueConstraint(fields=["month", "user"], name="customer_months_key")]

    def __str__(self) -> str:
        return f"{self.month:%B %Y}, user {self.user_id}"


class CustomerCount(models.Model):
    """Customers with a transaction in a month, by their account type at the last count."""

    month = models.DateField()
    account_type = models.CharField(max_length=20)
    users = models.BigIntegerField()
    transactions = models.BigIntegerField()

    class Meta:
        db_table = "customer_counts"
        constraints = [models.UniqueConstraint(fields=["month", "account_type"], name="customer_counts_key")]

    def __str__(self) -> str:
        return f"{self.month:%B %Y}, {self.account_type}"


class DecisionDay(models.Model):
    """Decisions of a day (UTC), and how long the merchants had waited for them."""

    day = models.DateField()
    automatic = models.BooleanField()
    action = models.CharField(max_length=12)
    decisions = models.BigIntegerField()
    reversed = models.BigIntegerField(help_text="Undone later.")
    overturned = models.BigIntegerField(help_text="Decisions of reviewers that ended an automatic approval.")
    released = models.BigIntegerField(help_text="Transactions that waited for these decisions.")
    waited = models.BigIntegerField(help_text="Decisions on merchants that had waited.")
    median_seconds = models.FloatField("median wait (s)", null=True)
    slow_seconds = models.FloatField("90th percentile (s)", null=True)

    class Meta:
        db_table = "decision_days"
        constraints = [models.UniqueConstraint(fields=["day", "automatic", "action"], name="decision_days_key")]

    def __str__(self) -> str:
        return f"{self.day} {self.action}"


class MappingDay(models.Model):
    """Proposals of a day (UTC) by status, source and whether the decision was automatic."""

    day = models.DateField()
    status = models.CharField(max_length=10)
    source = models.CharField(max_length=10)
    automatic = models.BooleanField()
    rows = models.BigIntegerField()
    confidence = models.DecimalField(max_digits=20, decimal_places=4, help_text="Sum over the rows.")

    class Meta:
        db_table = "mapping_days"
        constraints = [
            models.UniqueConstraint(fields=["day", "status", "source", "automatic"], name="mapping_days_key")
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.status}"


class RollupPartition(models.Model):
    """Writes to a partition by PostgreSQL's statistics, compared with the writes that were counted."""

    read_from_primary = True  # a refresh decides by it

    name = models.CharField(max_length=63, primary_key=True)
    relation = models.BigIntegerField(help_text="Its oid: a new table of the same name has another.")
    written = models.BigIntegerField(help_text="Rows inserted, updated and deleted at the last inspection.")
    unreported_writes = models.BigIntegerField(
        db_column="ahead", help_text="Counted writes that the statistics do not report yet."
    )
    looked_at = models.DateTimeField("inspected at", null=True, blank=True)
    stale = models.BooleanField(
        default=False, db_default=False, help_text="Has uncounted writes and must be recounted."
    )
    archived = models.BooleanField(
        default=False, db_default=False, help_text="Detached from its table; the totals of its days stay."
    )
    verified_at = models.DateTimeField(null=True, blank=True, help_text="When its rows were last recounted.")

    class Meta:
        db_table = "rollup_partitions"

    def __str__(self) -> str:
        return self.name


class LlmAnalyticsSummary(models.Model):
    """The materialized view of proposals by day and status, refreshed by `calculate_analytics`."""

    pk = models.CompositePrimaryKey("date", "status")
    date = models.DateField()
    status = models.CharField(max_length=10)
    count = models.BigIntegerField()
    avg_confidence = models.DecimalField(max_digits=5, decimal_places=4)

    class Meta:
        db_table = "llm_analytics_summary"
        managed = False

    def __str__(self) -> str:
        return f"{self.date} {self.status}: {self.count}"


class LedgerDay(models.Model):
    """Bookings of a day (UTC) by kind and accounts, counted by `analytics.services.ledger_days`."""

    day = models.DateField()
    kind = models.CharField(max_length=16)
    debit_account = models.CharField(max_length=10)
    credit_account = models.CharField(max_length=10)
    rows = models.BigIntegerField()
    amount = models.DecimalField(max_digits=18, decimal_places=2)

    class Meta:
        db_table = "ledger_days"
        constraints = [
            models.UniqueConstraint(fields=["day", "kind", "debit_account", "credit_account"], name="ledger_days_key")
        ]
        permissions = [
            ("view_llm_center_dashboard", "Can view the dashboard of the LLM Center"),
            ("view_transactions_dashboard", "Can view the dashboard of transactions"),
            ("view_finance_dashboard", "Can view the dashboard of finance"),
            ("view_operations_dashboard", "Can view the dashboard of operations"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.debit_account} → {self.credit_account}"


class LedgerMark(models.Model):
    """How far `ledger_days` is counted (one row)."""

    read_from_primary = True  # a refresh decides by it

    counted_to = models.BigIntegerField(help_text="Every booking up to this id is in the days.")
    counted_at = models.DateTimeField(null=True, blank=True, help_text="Everything booked before is in the days.")
    high_water_mark = models.BigIntegerField(db_column="drawn_to", help_text="The highest id when the mark was set.")
    open_before = models.BigIntegerField(
        db_column="drawn_before", help_text="Transactions with smaller numbers may hold smaller ids."
    )
    marked_at = models.DateTimeField(db_column="drawn_at", null=True, blank=True)

    class Meta:
        db_table = "ledger_marks"

    def __str__(self) -> str:
        return f"counted to {self.counted_to}"


class Report(models.Model):
    """A file of a report, generated by `analytics.services.reports`."""

    class Kind(models.TextChoices):
        STATEMENT = "statement", "account statement"
        FINANCE = "finance", "finance report"
        RECONCILIATION = "reconciliation"

    class Format(models.TextChoices):
        PDF = "pdf", "PDF"
        CSV = "csv", "CSV"

    kind = models.CharField(max_length=16, choices=Kind)
    period = models.DateField(help_text="First day of the month.")
    user = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="+",
        help_text="Owner of an account statement.",
    )
    format = models.CharField(max_length=4, choices=Format)
    task = models.ForeignKey("transactions.BackgroundTask", on_delete=models.PROTECT, related_name="+")
    file = models.FileField(max_length=200)
    size = models.BigIntegerField(help_text="Bytes.")
    sha256 = models.CharField("SHA-256", max_length=64)
    rows = models.BigIntegerField(help_text="Transactions, postings or differences.")
    made_at = models.DateTimeField("created at", default=timezone.now, editable=False)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "reports"
        indexes = [models.Index(fields=["user", "-period", "format"], name="idx_reports_user_period")]
        constraints = [
            # A report that is generated again replaces the one before.
            models.UniqueConstraint(
                fields=["kind", "period", "user", "format"], name="reports_once", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=models.Q(kind="statement", user__isnull=False)
                | models.Q(kind__in=["finance", "reconciliation"], user__isnull=True),
                name="reports_statement_has_user",
            ),
            models.CheckConstraint(condition=models.Q(format__in=["pdf", "csv"]), name="reports_format_known"),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def filename(self) -> str:
        return f"kamioi-{self.kind}-{self.period:%Y-%m}.{self.format}"
