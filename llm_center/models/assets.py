"""Data assets in the ledger (models and data sets), their events and monthly charges."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class LlmDataAsset(models.Model):
    """A model or data set in the ledger, amortized over its useful life."""

    class Status(models.TextChoices):
        DEVELOPMENT = "development"
        PRODUCTION = "production", "in service"
        DISPOSED = "disposed", "disposed of"

    asset_name = models.CharField(max_length=200)
    asset_type = models.CharField(max_length=30)
    status = models.CharField(max_length=20, default=Status.DEVELOPMENT, choices=Status)
    cost_basis = models.DecimalField(
        max_digits=14, decimal_places=2, default=Decimal(0), help_text="Total cost, including all components."
    )
    salvage_value = models.DecimalField(
        max_digits=14,
        decimal_places=2,
        default=Decimal(0),
        db_default=Decimal(0),
        help_text="Value at the end of the useful life; never amortized.",
    )
    current_value = models.DecimalField(
        max_digits=14, decimal_places=2, default=Decimal(0), help_text="Estimated value; not in the ledger."
    )
    useful_life_months = models.PositiveSmallIntegerField(default=36)
    in_service_on = models.DateField(null=True, blank=True, help_text="Amortized from this month on.")
    model_version = models.CharField(max_length=100, blank=True)
    gl_account = models.CharField("GL account", max_length=10, default="15200")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "llm_data_assets"
        verbose_name = "LLM data asset"
        constraints = [
            models.CheckConstraint(condition=Q(cost_basis__gte=0), name="llm_data_assets_cost_not_negative"),
            models.CheckConstraint(condition=Q(useful_life_months__gte=1), name="llm_data_assets_life_positive"),
            models.CheckConstraint(
                condition=Q(salvage_value__gte=0, salvage_value__lte=F("cost_basis")),
                name="llm_data_assets_salvage_within_cost",
            ),
        ]

    def __str__(self) -> str:
        return self.asset_name


class AssetEvent(models.Model):
    """An added cost, impairment or disposal of an asset. Rows are never changed."""

    class Kind(models.TextChoices):
        """Kinds of events; `amount` is the cost, the loss, or the proceeds."""

        COST = "cost"
        IMPAIRMENT = "impairment"
        DISPOSAL = "disposal"

    asset = models.ForeignKey(LlmDataAsset, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=10, choices=Kind)
    component = models.CharField(
        max_length=60, blank=True, help_text="Kind of cost: computing, data, labelling, staff, licences …"
    )
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    dated_on = models.DateField()
    note = models.CharField(max_length=255, blank=True)
    created_by = models.ForeignKey("transactions.User", null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "llm_asset_events"
        verbose_name = "asset event"
        verbose_name_plural = "asset events"
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="disposal", amount__gte=0) | Q(kind__in=["cost", "impairment"], amount__gt=0),
                name="llm_asset_events_amount_fits_kind",
            ),
            models.UniqueConstraint(
                fields=["asset"], condition=Q(kind="disposal"), name="llm_asset_events_disposed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} ${self.amount:,}"


class AmortizationEntry(models.Model):
    """The charge of one asset for one month. Rows are never changed.

    It is posted once; after a reversal it may be posted again, by an entry that replaces the reversed one.
    """

    asset = models.ForeignKey(LlmDataAsset, on_delete=models.PROTECT, related_name="amortization")
    period = models.DateField(help_text="First day of the month.")
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    credit_account = models.CharField(max_length=10, default="15100", db_default="15100")
    transfer_id = models.BigIntegerField(null=True, blank=True, help_text="ID of the ledger transfer.")
    replaces = models.OneToOneField(
        "AmortizationReversal",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The reversal of the entry before, of the same asset and month.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "amortization_entries"
        verbose_name_plural = "amortization entries"
        constraints = [
            models.UniqueConstraint(
                fields=["asset", "period"], condition=Q(replaces=None), name="amortization_entries_once_per_month"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="amortization_entries_amount_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.period:%B %Y}, asset {self.asset_id}"

    @property
    def is_reversed(self) -> bool:
        return hasattr(self, "reversal")


class AmortizationReversal(models.Model):
    """The reversal of a charge by a contra transfer. Rows are never changed."""

    entry = models.OneToOneField(AmortizationEntry, primary_key=True, on_delete=models.PROTECT, related_name="reversal")
    transfer_id = models.BigIntegerField(null=True, help_text="ID of the ledger transfer.")
    reversed_by = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="+")
    reversed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "amortization_reversals"

    def __str__(self) -> str:
        return f"reversal of entry {self.entry_id}"
