"""Fits of the confidence calibration."""

from django.db import models
from django.utils import timezone


class CalibrationFit(models.Model):
    """One fit; the newest of a source is used. Rows are never changed."""

    source = models.CharField(max_length=10, choices=[("matcher", "matcher"), ("llm", "LLM")])
    points = models.JSONField(help_text="Pairs of stated and calibrated confidence.")
    observations = models.PositiveIntegerField(help_text="Answers that reviewers decided.")
    brier_before = models.FloatField(null=True, help_text="Mean squared error as stated; 0 is best.")
    brier_after = models.FloatField(null=True, help_text="The same after calibration.")
    fitted_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "calibration_fits"
        indexes = [models.Index(fields=["source", "-id"], name="idx_calibration_fits_newest")]

    def __str__(self) -> str:
        return f"{self.source} {self.fitted_at:%Y-%m-%d}"
