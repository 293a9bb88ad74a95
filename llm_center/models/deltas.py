"""What writes to the mapping log change in the figures of a day."""

from django.db import models


class MappingDelta(models.Model):
    """Rows of the log that a (day, status, source, automatic) lost or gained by one write.

    Written with the rows themselves, taken up and deleted by `analytics.services.rollups`. `writes` is the number of rows of
    the log that were written, by which writes that nobody counted are noticed.
    """

    day = models.DateField(help_text="Of `created_at`, UTC.")
    status = models.CharField(max_length=10)
    source = models.CharField(max_length=10)
    automatic = models.BooleanField()
    rows = models.IntegerField()
    confidence = models.DecimalField(max_digits=18, decimal_places=4, help_text="Sum over the rows.")
    writes = models.IntegerField()

    class Meta:
        db_table = "mapping_deltas"

    def __str__(self) -> str:
        return f"{self.day} {self.status} {self.rows:+d}"
