"""Uploading files of mappings: a small file is imported at once, a larger one in the background."""

from datetime import timedelta
from typing import Annotated, Literal, TypedDict
from uuid import UUID

from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import Data, ErrorOutput, MessageOutput
from llm_center.api.serializers import UploadInput
from llm_center.models import MappingImport
from llm_center.services.mapping_imports import run_mapping_import, upload_mapping_file
from transactions.api.authentication import FormTokenAuthentication, QueryTokenAuthentication
from transactions.api.base import current_user
from transactions.api.idempotency import idempotent
from transactions.api.parsers import uploaded_file
from transactions.api.staff.base import StaffView
from transactions.models import BackgroundTask

# Some hundred rows: imported in a few tenths of a second.
SYNC_BYTES = 32 * 1024
_SHOWN_ERRORS = 50
_IN_BACKGROUND = "The file is being imported in the background."


class UploadedRows(TypedDict):
    """The result of the import, null while it runs. `errors` are the first fifty."""

    processed_rows: int | None
    total_rows: int | None
    valid_rows: int | None
    errors: list[str]
    error_count: int | None
    processing_time: float | None
    rows_per_second: float | None
    job_id: UUID
    status: str


class UploadOutput(MessageOutput):
    """A small file is imported at once, a larger one in the background."""

    task_id: UUID
    data: UploadedRows


class UploadJob(TypedDict):
    job_id: UUID
    status: str
    method: str


class FastUploadOutput(MessageOutput):
    """The file is stored and imported in the background."""

    task_id: UUID
    data: UploadJob


class UploadProgress(TypedDict):
    """The progress of an import; `total_rows` is null until the file is read."""

    job_id: UUID
    status: Annotated[str, Literal["queued", "processing", "completed", "failed"]]
    processed_rows: int
    total_rows: int | None
    valid_rows: int
    error_count: int
    errors: list[str]
    error: str
    progress: float | None
    processing_time: float | None
    rows_per_second: float | None


class _UploadView(StaffView):
    required_permissions = ("llm_center.add_mappingimport",)
    parser_classes = [MultiPartParser]

    def store(self, request: Request, *, sync_bytes: int = 0) -> tuple[MappingImport, bool]:
        """Store the uploaded file, and send one over `sync_bytes` to a worker. Raises MappingFileError."""
        file = uploaded_file(request, missing="Send a file of mappings in the form field “file”.")
        synchronous = (file.size or 0) <= sync_bytes
        imported = upload_mapping_file(
            filename=file.name or "mappings.csv", content=file, actor=current_user(request), send=not synchronous
        )
        return imported, synchronous


class UploadView(_UploadView):
    @extend_schema(
        request={"multipart/form-data": UploadInput},
        responses={200: UploadOutput, 202: UploadOutput},
        tags=["mapping files"],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Import up to 32 kB at once (200), more in the background (202). The same file is imported once."""
        imported, synchronous = self.store(request, sync_bytes=SYNC_BYTES)
        if synchronous:
            imported = run_mapping_import(task_id=imported.task_id, release_later=True) or imported
        task = BackgroundTask.objects.get(pk=imported.task_id)
        if task.status == BackgroundTask.Status.FAILED:
            raise ValidationError({"file": [task.error]})
        completed = task.status == BackgroundTask.Status.COMPLETED
        seconds = _seconds(task)
        data = UploadedRows(
            processed_rows=imported.rows_done if completed else None,
            total_rows=imported.rows_done if completed else None,
            valid_rows=imported.rows_added if completed else None,
            errors=_first_errors(imported),
            error_count=imported.rows_rejected if completed else None,
            processing_time=seconds if completed else None,
            rows_per_second=_rate(imported.rows_done, seconds) if completed else None,
            job_id=task.pk,
            status=_status(task),
        )
        message = f"{imported.rows_added} mappings imported." if completed else _IN_BACKGROUND
        return Response(
            {"success": True, "message": message, "task_id": task.pk, "data": data},
            status=status.HTTP_200_OK if completed else status.HTTP_202_ACCEPTED,
        )


class FastUploadView(_UploadView):
    authentication_classes = (*StaffView.authentication_classes, FormTokenAuthentication)

    @extend_schema(
        request={"multipart/form-data": UploadInput}, responses={202: FastUploadOutput}, tags=["mapping files"]
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Import in the background; poll the progress of `job_id`."""
        imported, _ = self.store(request)
        body = FastUploadOutput(
            success=True,
            message=_IN_BACKGROUND,
            task_id=imported.task_id,
            data={"job_id": imported.task_id, "status": "queued", "method": "background"},
        )
        return Response(body, status=status.HTTP_202_ACCEPTED)


class UploadProgressView(StaffView):
    required_permissions = ("llm_center.add_mappingimport",)
    authentication_classes = (*StaffView.authentication_classes, QueryTokenAuthentication)

    @extend_schema(
        parameters=[
            OpenApiParameter("job_id", OpenApiTypes.UUID, required=True),
            OpenApiParameter(
                "admin_token",
                OpenApiTypes.STR,
                description="The token, for a front end that sends no header. Prefer the header.",
            ),
        ],
        responses={200: Data[UploadProgress], 404: ErrorOutput},
        tags=["mapping files"],
    )
    def get(self, request: Request) -> Response:
        """Return the number of imported rows, and the first invalid ones."""
        try:
            job_id = UUID(request.query_params.get("job_id") or "")
        except ValueError as error:
            raise ValidationError({"job_id": ["Must be the id of an upload."]}) from error
        imported = MappingImport.objects.select_related("task").filter(task_id=job_id).first()
        if imported is None:
            raise Http404
        task, seconds = imported.task, _seconds(imported.task)
        completed = task.status == BackgroundTask.Status.COMPLETED
        data = UploadProgress(
            job_id=task.pk,
            status=_status(task),
            processed_rows=imported.rows_done,
            total_rows=imported.rows_done if completed else None,
            valid_rows=imported.rows_added,
            error_count=imported.rows_rejected,
            errors=_first_errors(imported),
            error=task.error,
            progress=100.0 if completed else None,
            processing_time=seconds,
            rows_per_second=_rate(imported.rows_done, seconds),
        )
        return Response({"success": True, "data": data})


def _status(task: BackgroundTask) -> str:
    return "processing" if task.status == BackgroundTask.Status.RUNNING else task.status


def _first_errors(imported: MappingImport) -> list[str]:
    rejects = imported.rejects.order_by("row_number")[:_SHOWN_ERRORS]
    return [f"row {row.row_number}: {row.field}: {row.reason}" for row in rejects]


def _seconds(task: BackgroundTask) -> float | None:
    if task.started_at is None:
        return None
    duration: timedelta = (task.finished_at or timezone.now()) - task.started_at
    return round(duration.total_seconds(), 3)


def _rate(rows: int, seconds: float | None) -> float | None:
    return round(rows / seconds, 1) if seconds else None
