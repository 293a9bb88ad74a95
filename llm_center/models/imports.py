"""Uploaded mapping files, their progress, merchants and rejected rows."""

from django.db import models

from kamioi_site.imports.models import ImportReject, ResumableImport


class MappingImport(ResumableImport):
    """One uploaded mapping file."""

    task = models.OneToOneField("transactions.BackgroundTask", on_delete=models.PROTECT, related_name="mappings")
    note = models.CharField(max_length=200, blank=True, help_text="Source of the file.")
    file = models.FileField(upload_to="mappings/%Y/%m/")
    sha256 = models.CharField(max_length=64, unique=True, help_text="Prevents importing the same file twice.")
    merchants_approved = models.BigIntegerField("approved", default=0)
    merchants_kept = models.BigIntegerField("kept", default=0, help_text="Kept as a reviewer decided.")
    merchants_review = models.BigIntegerField(
        "to review", default=0, help_text="Contradicted or ambiguous: sent to review."
    )

    class Meta:
        db_table = "mapping_imports"


class MappingImportReject(ImportReject):
    """A row of a mapping file that could not be imported."""

    mapping_import = models.ForeignKey(MappingImport, on_delete=models.CASCADE, related_name="rejects", db_index=False)

    class Meta:
        db_table = "mapping_import_rejects"
        constraints = [
            models.UniqueConstraint(fields=["mapping_import", "row_number"], name="mapping_import_rejects_once_per_row")
        ]


class MappingImportKey(models.Model):
    """A merchant and ticker in a file; deleted when the directory is updated."""

    mapping_import = models.ForeignKey(MappingImport, on_delete=models.CASCADE, related_name="keys", db_index=False)
    merchant_key = models.CharField(max_length=120)
    ticker = models.CharField(max_length=12)
    display_name = models.CharField(max_length=255)
    category = models.CharField(max_length=100, blank=True)
    confidence = models.DecimalField(max_digits=5, decimal_places=4)
    count = models.PositiveIntegerField(default=1)

    class Meta:
        db_table = "mapping_import_keys"
        constraints = [
            models.UniqueConstraint(
                fields=["mapping_import", "merchant_key", "ticker"], name="mapping_import_keys_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.merchant_key} → {self.ticker}"
