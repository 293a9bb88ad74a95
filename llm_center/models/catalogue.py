"""The brand catalogue: who owns a brand, and its ticker."""

from django.db import models
from django.db.models import Q


class CatalogueBrand(models.Model):
    """A brand: its spellings, its owner, and the owner's ticker or why there is none.

    Imported from the shipped data; edited rows are kept by later imports.
    """

    class Reason(models.TextChoices):
        LISTED = "", "listed"
        PRIVATE = "private"
        FAMILY = "family"
        COOPERATIVE = "cooperative", "co-operative"
        MUTUAL = "mutual", "owned by its members"
        STATE = "state"
        GOVERNMENT = "government", "state, city or authority"
        OTC = "otc", "over the counter or abroad only"
        NOT_A_PURCHASE = "not-a-purchase", "money moved, not spent"
        UNKNOWN = "unknown", "not researched"

    name = models.CharField(max_length=200, unique=True)
    aliases = models.JSONField(default=list, blank=True, help_text="Other spellings used on statements.")
    owner = models.CharField(max_length=200, blank=True)
    ticker = models.CharField(max_length=12, blank=True, help_text="Ticker of the listed company that owns the brand.")
    reason = models.CharField(max_length=20, blank=True, choices=Reason, help_text="Why there is no ticker.")
    category = models.CharField(max_length=100, blank=True)
    source = models.CharField(max_length=100, blank=True)
    as_of = models.CharField(
        "as of",
        max_length=10,
        blank=True,
        default="",
        db_default="",
        help_text="When the owner was looked up: 2026-10.",
    )
    edited = models.BooleanField(
        default=False, db_default=False, help_text="Edited manually: imports do not change it."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "catalogue_brands"
        verbose_name = "brand"
        ordering = ["name"]
        indexes = [models.Index(fields=["-updated_at"], name="idx_catalogue_brands_updated")]
        constraints = [
            models.CheckConstraint(
                condition=(~Q(ticker="") & Q(reason="")) | (Q(ticker="") & ~Q(reason="")),
                name="catalogue_brands_ticker_or_reason",
            )
        ]

    def __str__(self) -> str:
        return self.name
