"""Abstract models of an import and of its rejected rows."""

from collections.abc import Iterator, Sequence

from django.db import models
from django.utils import timezone

from kamioi_site.http.downloads import csv_line, rows_in_pages
from kamioi_site.imports.rows import ImportBusyError, RowError


class ResumableImport(models.Model):
    """An uploaded file and how far its import is.

    `rows_done` counts good and bad rows. It is written in the transaction that stores a batch, so a killed import
    resumes after its last batch. Subclasses have a foreign key from their rejected rows, `related_name="rejects"`.
    """

    filename = models.CharField(max_length=255)
    size = models.BigIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    rows_added = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.filename

    def lock_for_batch(self) -> None:
        """Lock the row until commit. Raises ImportBusyError when another worker has stored a batch meanwhile."""
        rows_done = type(self)._base_manager.select_for_update().values_list("rows_done", flat=True).get(pk=self.pk)
        if rows_done != self.rows_done:
            raise ImportBusyError

    def record_batch(self, *, rows: int, added: int, errors: Sequence[RowError], **counters: int) -> None:
        """Store the rejected rows and advance the counters; call it in the transaction that stores the batch.

        Args:
            rows: rows of the file that the batch covers, good and bad.
            added: rows that the batch stored.
            counters: increments of further fields.
        """
        rejects = self.rejects  # type: ignore[attr-defined]
        rejects.model.objects.bulk_create(
            [
                rejects.model(
                    row_number=error.row_number,
                    field=error.field[:30],
                    reason=error.reason[:255],
                    raw=error.raw.replace("\0", ""),
                    **{rejects.field.name: self},
                )
                for error in errors
            ],
            batch_size=1_000,
            ignore_conflicts=True,
        )
        increments = {"rows_done": rows, "rows_added": added, "rows_rejected": len(errors), **counters}
        for name, increment in increments.items():
            setattr(self, name, getattr(self, name) + increment)
        self.save(update_fields=list(increments))

    def rejects_csv(self) -> Iterator[str]:
        """Yield the rejected rows as CSV lines. Cells that a spreadsheet would run as a formula are quoted with `'`."""
        yield "row,field,reason,original\r\n"
        rejects = self.rejects.all()  # type: ignore[attr-defined]
        for row in rows_in_pages(rejects, ("row_number", "field", "reason", "raw"), order=("row_number",)):
            yield csv_line(row)


class ImportReject(models.Model):
    """A row that could not be imported: where it is, the field, the reason, and the row itself."""

    row_number = models.BigIntegerField()
    field = models.CharField(max_length=30)
    reason = models.CharField(max_length=255)
    raw = models.TextField(blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"row {self.row_number}: {self.reason}"
