"""Settings that staff change while the system runs, and the platform fee by day."""

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Setting(models.Model):
    """A setting that staff change at run time, with the keys of the legacy system. See `kamioi_site.live_settings`."""

    class Type(models.TextChoices):
        STRING = "string"
        DECIMAL = "decimal"
        BOOLEAN = "boolean"

    key = models.CharField(max_length=100, unique=True)
    value = models.TextField()
    type = models.CharField(max_length=10, choices=Type, default=Type.STRING)
    description = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "admin_settings"
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class PlatformFee(models.Model):
    """The platform fee from a day (UTC) on. Rows are only added; each applies until the day of the next one."""

    first_day = models.DateField(unique=True)
    fee = models.DecimalField(max_digits=14, decimal_places=2, help_text="Dollars for each purchase that invests.")
    max_share = models.DecimalField(
        "maximum share", max_digits=5, decimal_places=4, help_text="The fee is at most this share of the round-up."
    )
    set_by = models.ForeignKey("transactions.User", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    set_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "platform_fees"
        constraints = [
            models.CheckConstraint(condition=Q(fee__gte=0), name="platform_fees_not_negative"),
            models.CheckConstraint(condition=Q(max_share__range=(0, 1)), name="platform_fees_share_in_bounds"),
        ]

    def __str__(self) -> str:
        return f"${self.fee} from {self.first_day}"
