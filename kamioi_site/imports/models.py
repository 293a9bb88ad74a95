"""Abstract models of an import and of its rejected rows."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Self

from django.db import models, transaction
from django.utils import timezone

from kamioi_site.http.downloads import csv_line, rows_in_pages
from kamioi_site.imports.rows import ImportBusyError, RowError

MAX_REJECTS: Final = 1_000  # rows stored of an import's rejects; the others are counted
_EXPIRE_BATCH: Final = 500


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

    def lock_for_batch(self) -> Self:
        """Lock the row until commit and return it as it is.

        Raises ImportBusyError when another worker has stored a batch meanwhile.
        """
        current = type(self)._base_manager.select_for_update().get(pk=self.pk)
        if current.rows_done != self.rows_done:
            raise ImportBusyError
        return current

    def record_batch(self, *, rows: int, added: int, errors: Sequence[RowError], **counters: int) -> None:
        """Store the first rejected rows and advance the counters; call it in the transaction that stores the batch.

        Args:
            rows: rows of the file that the batch covers, good and bad.
            added: rows that the batch stored.
            counters: increments of further fields.
        """
        rejects = self.rejects  # type: ignore[attr-defined]
        kept = sorted(errors, key=attrgetter("row_number"))[: max(0, MAX_REJECTS - self.rows_rejected)]
        rejects.model.objects.bulk_create(
            [
                rejects.model(
                    row_number=error.row_number,
                    field=error.field[:30],
                    reason=error.reason[:255],
                    raw=error.raw.replace("\0", ""),
                    **{rejects.field.name: self},
                )
                for error in kept
            ],
            batch_size=1_000,
            ignore_conflicts=True,
        )
        increments = {"rows_done": rows, "rows_added": added, "rows_rejected": len(errors), **counters}
        for name, increment in increments.items():
            setattr(self, name, getattr(self, name) + increment)
        self.save(update_fields=list(increments))

    @property
    def rejects_omitted(self) -> int:
        """The number of rejected rows that are only counted."""
        return max(0, self.rows_rejected - MAX_REJECTS)

    def rejects_csv(self) -> Iterator[str]:
        """Yield the rejected rows as CSV lines. Cells that a spreadsheet would run as a formula are quoted with `'`."""
        yield "row,field,reason,original\r\n"
        rejects = self.rejects.all()  # type: ignore[attr-defined]
        for row in rows_in_pages(rejects, ("row_number", "field", "reason", "raw"), order=("row_number",)):
            yield csv_line(row)
        if self.rejects_omitted:
            yield csv_line(("", "", f"and {self.rejects_omitted:,} more", ""))


def expire_imports(*, before: datetime) -> int:
    """Delete the files and rejected rows of all imports that were created before this time and are not open.

    The rows and their counters stay. Returns the number of imports.
    """
    total = 0
    imports: list[Any] = ResumableImport.__subclasses__()  # each has a task, a file and rejects
    for model in imports:
        old = model._base_manager.filter(created_at__lt=before, task__finished_at__isnull=False).exclude(file="")
        rejects = model._meta.get_field("rejects")
        while batch := list(old.order_by("created_at")[:_EXPIRE_BATCH]):
            for row in batch:
                row.file.storage.delete(row.file.name)  # again without harm after a crash
            keys = [row.pk for row in batch]
            with transaction.atomic():
                rejects.related_model._base_manager.filter(**{f"{rejects.field.name}__in": keys}).delete()
                model._base_manager.filter(pk__in=keys).update(file="")
            total += len(batch)
    return total


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
