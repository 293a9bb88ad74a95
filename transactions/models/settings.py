"""Settings that staff change while the system runs."""

from django.db import models


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
