"""Stock quotes."""

from django.db import models
from django.db.models import Q


class StockPrice(models.Model):
    """One quote. The unique index finds the latest quote of a ticker in one step."""

    ticker = models.CharField(max_length=12)
    price = models.DecimalField(max_digits=14, decimal_places=4)
    as_of = models.DateTimeField()
    source = models.CharField(max_length=40)

    class Meta:
        db_table = "stock_prices"
        constraints = [
            models.UniqueConstraint(fields=["ticker", "as_of"], name="stock_prices_one_per_moment"),
            models.CheckConstraint(condition=Q(price__gt=0), name="stock_prices_price_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.ticker} at ${self.price:,.2f}"
