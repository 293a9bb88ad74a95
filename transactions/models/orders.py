"""Orders that wait for the market to open."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod
from django.utils import timezone

from kamioi_site.db.indexes import NamedIndex
from transactions.models.transactions import USER_BUCKETS


class Order(models.Model):
    """A purchase of shares that waits for the market to open, and its outcome."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        EXECUTED = "executed"
        CANCELLED = "cancelled"

    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="orders")
    transaction_id = models.BigIntegerField()
    transaction_date = models.DateTimeField()
    ticker = models.CharField(max_length=12)
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    execute_after = models.DateTimeField(help_text="The market opening that this order waits for.")
    shares = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    price = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    executed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "orders"
        indexes = [
            NamedIndex(Mod(F("user_id"), USER_BUCKETS), "id", name="idx_orders_work", condition=Q(status="queued")),
            models.Index(fields=["-id"], name="idx_orders_cancelled", condition=Q(status="cancelled")),
        ]
        constraints = [
            models.UniqueConstraint(fields=["user", "transaction_id"], name="orders_one_per_transaction"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="orders_amount_positive"),
            models.CheckConstraint(
                condition=Q(status__in=["queued", "executed", "cancelled"]), name="orders_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="executed") | Q(shares__gte=0, price__gt=0, executed_at__isnull=False),
                name="orders_executed_has_price",
            ),
        ]

    def __str__(self) -> str:
        return f"${self.amount:,} of {self.ticker}"
