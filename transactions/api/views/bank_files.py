"""Uploading a bank's file, in the format of the legacy front ends."""

from typing import Annotated, BinaryIO, TypedDict, cast
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import MessageOutput
from kamioi_site.api.views import ApiView
from transactions.api.base import current_user, task_links
from transactions.api.idempotency import idempotent
from transactions.api.parsers import statement_options, uploaded_file
from transactions.api.serializers import BulkFileInput, StatementUploadInput
from transactions.api.statement_previews import StatementPreviewOutput, statement_preview
from transactions.models import BackgroundTask, StatementImport
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.statements.excel import is_workbook

SHOWN_ERRORS = 100


class BankFileData(TypedDict):
    """What was read. `processed` counts valid rows: `added` and `duplicates`, which had been sent before."""

    processed: int
    processed_rows: int
    total_rows: int
    added: int
    duplicates: int
    error_count: int
    errors: Annotated[list[str], "The first hundred; all of them at `rejects_url`."]


class BankFileOutput(MessageOutput):
    """The file was read, or is being read."""

    data: BankFileData
    import_id: int
    task_id: UUID
    status: Annotated[str, BackgroundTask.Status]
    status_url: str
    rejects_url: str


class BankFileView(ApiView):
    parser_classes = [MultiPartParser]

    @extend_schema(
        parameters=[StatementUploadInput],
        request={"multipart/form-data": BulkFileInput},
        responses={200: BankFileOutput | StatementPreviewOutput, 202: BankFileOutput},
        tags=["transactions"],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Read a CSV, Excel, OFX or QFX file: a small one at once; a larger one or a workbook later (202)."""
        file = uploaded_file(request, missing="Send a CSV, Excel, OFX or QFX file in the form field “file”.")
        user, options, filename = current_user(request), statement_options(request), file.name or "statement.csv"
        if options.dry_run:
            return Response(
                statement_preview(file, filename=filename, user=user, answers=options.answers, account=options.account)
            )
        # A workbook is parsed by the workers only.
        small = (file.size or 0) <= settings.STATEMENT_SYNC_BYTES
        synchronous = small and not is_workbook(cast("BinaryIO", file))
        file.seek(0)
        statement = upload_statement(
            user=user,
            filename=filename,
            content=file,
            requested_by=user,
            answers=options.answers,
            account=options.account,
            send=not synchronous,
        )
        if synchronous:
            statement = run_statement_import(task_id=statement.task_id) or statement
        if statement.task.error:
            raise ValidationError({"file": [statement.task.error]})
        code = status.HTTP_200_OK if synchronous else status.HTTP_202_ACCEPTED
        return Response(_body(statement), status=code)


def _body(statement: StatementImport) -> dict[str, object]:
    valid = statement.rows_added + statement.rows_duplicate
    rejects = statement.rejects.order_by("row_number")[:SHOWN_ERRORS] if statement.rows_rejected else []
    completed = statement.task.status == BackgroundTask.Status.COMPLETED
    data = BankFileData(
        processed=valid,
        processed_rows=valid,
        total_rows=statement.rows_done,
        added=statement.rows_added,
        duplicates=statement.rows_duplicate,
        error_count=statement.rows_rejected,
        errors=[f"Row {row.row_number}: {row.field}: {row.reason}" for row in rejects],
    )
    summary = (
        f"{statement.rows_added} transactions added, {statement.rows_duplicate} duplicates, "
        f"{statement.rows_rejected} invalid rows."
    )
    return {
        "success": True,
        "message": summary if completed else "The file is being read.",
        "data": data,
        "import_id": statement.pk,
        **task_links(statement.task),
        "rejects_url": reverse("api-task-rejects", args=[statement.task_id]),
    }
