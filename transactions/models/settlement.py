"""What was collected from customers, and the house's orders at the broker."""

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Collection(models.Model):
    """One collection of what customers owe: a ledger row of kind `collection` or `returned` for each customer.

    It covers the postings after the previous collection up to the id `collected_to`.
    """

    day = models.DateField(help_text="The day of booking.")
    collected_to = models.BigIntegerField(unique=True, help_text="Every earlier posting is collected.")
    customers = models.IntegerField()
    amount = models.DecimalField("collected", max_digits=18, decimal_places=2, help_text="Dollars.")
    returned = models.DecimalField(max_digits=18, decimal_places=2, help_text="Dollars, to customers who had overpaid.")
    collected_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "collections"
        constraints = [
            models.CheckConstraint(
                condition=Q(customers__gt=0, amount__gte=0, returned__gte=0), name="collections_not_negative"
            )
        ]

    def __str__(self) -> str:
        return f"Collection of {self.day}"


class BrokerOrder(models.Model):
    """A filled order of the house: the shares of one ticker that customers bought or gave back since the last one."""

    class Side(models.TextChoices):
        BUY = "buy"
        SELL = "sell"

    ticker = models.CharField(max_length=12)
    side = models.CharField(max_length=4, choices=Side)
    shares = models.DecimalField(max_digits=20, decimal_places=8)
    price = models.DecimalField(max_digits=14, decimal_places=4)
    amount = models.DecimalField(max_digits=14, decimal_places=2, help_text="Paid or received, in dollars.")
    filled_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "broker_orders"
        constraints = [
            models.CheckConstraint(condition=Q(side__in=["buy", "sell"]), name="broker_orders_side_known"),
            models.CheckConstraint(condition=Q(shares__gt=0, price__gt=0, amount__gt=0), name="broker_orders_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.shares} {self.ticker}"
