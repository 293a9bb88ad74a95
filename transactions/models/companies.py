"""Listed companies."""

from django.db import models


class Company(models.Model):
    """A listed company, by ticker. Only companies that are listed can be bought."""

    ticker = models.CharField(max_length=12, unique=True)
    name = models.CharField(max_length=200)
    exchange = models.CharField(max_length=40, blank=True)
    cik = models.CharField("CIK", max_length=10, blank=True)
    is_listed = models.BooleanField(default=True)
    aliases = models.JSONField(default=list, blank=True)
    edited = models.BooleanField(
        default=False, db_default=False, help_text="Edited by staff: imports of companies do not overwrite it."
    )

    class Meta:
        db_table = "companies"
        verbose_name_plural = "companies"
        ordering = ["ticker"]

    def __str__(self) -> str:
        return self.ticker
