"""Files of mappings: a small one is read while the caller waits, a larger one in the background with progress."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from llm_center.api import serializers as shapes
from llm_center.models import MappingImport
from llm_center.services.mapping_imports import run_mapping_import, upload_mapping_file
from transactions.api.authentication import QueryTokenAuthentication
from transactions.api.base import current_user
from transactions.api.staff import BODY_ERRORS, StaffView, errors
from transactions.models import BackgroundTask

# Some hundred rows: read in a few tenths of a second.
AT_ONCE_BYTES = 32 * 1024
_SHOWN = 50
_WORDS = {BackgroundTask.Status.RUNNING: "processing"}


class _UploadView(StaffView):
    needs = ("llm_center.add_mappingimport",)
    parser_classes = [MultiPartParser]

    def max_body_bytes(self, request: Request) -> int | None:
        """As long as a file of mappings may be, and the form around it."""
        return settings.STATEMENT_MAX_BYTES + 64 * 1024

    def keep(self, request: Request, *, send: bool) -> MappingImport:
        """The file of the request, kept for its import. Raises ValidationError, MappingFileError."""
        file = _file(request)
        return upload_mapping_file(
            filename=file.name or "mappings.csv", content=file, actor=current_user(request), send=send
        )


def _file(request: Request) -> UploadedFile:
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        raise ValidationError({"file": ["Send a file of mappings as the form field “file”."]})
    if not file.size:
        raise ValidationError({"file": ["The file is empty."]})
    return file


class UploadView(_UploadView):
    """Upload a file of mappings."""

    @extend_schema(
        request={"multipart/form-data": shapes.UploadInput},
        responses={200: shapes.UploadOutput, 202: shapes.UploadOutput} | errors(*BODY_ERRORS),
        tags=["mapping files"],
    )
    def post(self, request: Request) -> Response:
        """200 with the counts for up to 32 kB; 202 with a task for more. The same file is taken once."""
        small = (_file(request).size or 0) <= AT_ONCE_BYTES
        imported = self.keep(request, send=not small)
        if small:
            done = run_mapping_import(task_id=imported.task_id, release_later=True)
            imported = done or imported
        task = BackgroundTask.objects.get(pk=imported.task_id)
        if task.status == BackgroundTask.Status.FAILED:
            raise ValidationError({"file": [task.error]})
        ended = task.status == BackgroundTask.Status.COMPLETED
        seconds = _seconds(task)
        data = {
            "processed_rows": imported.rows_done if ended else None,
            "total_rows": imported.rows_done if ended else None,
            "valid_rows": imported.rows_added if ended else None,
            "errors": _first_errors(imported),
            "error_count": imported.rows_rejected if ended else None,
            "processing_time": seconds if ended else None,
            "rows_per_second": _rate(imported.rows_done, seconds) if ended else None,
            "job_id": task.pk,
            "status": _WORDS.get(BackgroundTask.Status(task.status), task.status),
        }
        message = (
            f"{imported.rows_added} mappings taken over." if ended else "The file is being read in the background."
        )
        code = status.HTTP_200_OK if ended else status.HTTP_202_ACCEPTED
        return Response({"success": True, "message": message, "task_id": task.pk, "data": data}, status=code)


class FastUploadView(_UploadView):
    """Upload a file of mappings of any size."""

    @extend_schema(
        request={"multipart/form-data": shapes.UploadInput},
        responses={202: shapes.FastUploadOutput} | errors(*BODY_ERRORS),
        tags=["mapping files"],
    )
    def post(self, request: Request) -> Response:
        """202 at once; ask for the progress of `job_id`."""
        imported = self.keep(request, send=True)
        data = {"job_id": imported.task_id, "status": "queued", "method": "background"}
        return Response(
            {
                "success": True,
                "message": "The file is being read in the background.",
                "task_id": imported.task_id,
                "data": data,
            },
            status=status.HTTP_202_ACCEPTED,
        )


class UploadProgressView(StaffView):
    """How far an upload is."""

    needs = ("llm_center.add_mappingimport",)
    authentication_classes = (*StaffView.authentication_classes, QueryTokenAuthentication)

    @extend_schema(
        parameters=[
            OpenApiParameter("job_id", OpenApiTypes.UUID, required=True),
            OpenApiParameter(
                "admin_token",
                OpenApiTypes.STR,
                description="The token, where a front end sends no header. Prefer the header.",
            ),
        ],
        responses={200: shapes.UploadProgressOutput} | errors(400, 404),
        tags=["mapping files"],
    )
    def get(self, request: Request) -> Response:
        """Rows read so far, and the first rows that could not be."""
        try:
            job = UUID(request.query_params.get("job_id") or "")
        except ValueError as error:
            raise ValidationError({"job_id": ["The id of an upload is needed."]}) from error
        imported = MappingImport.objects.select_related("task").filter(task_id=job).first()
        if imported is None:
            raise Http404
        task, seconds = imported.task, _seconds(imported.task)
        ended = task.status == BackgroundTask.Status.COMPLETED
        data: dict[str, Any] = {
            "job_id": task.pk,
            "status": _WORDS.get(BackgroundTask.Status(task.status), task.status),
            "processed_rows": imported.rows_done,
            "total_rows": imported.rows_done if ended else None,
            "valid_rows": imported.rows_added,
            "error_count": imported.rows_rejected,
            "errors": _first_errors(imported),
            "error": task.error,
            "progress": 100.0 if ended else None,
            "processing_time": seconds,
            "rows_per_second": _rate(imported.rows_done, seconds),
        }
        return Response({"success": True, "data": data})


def _first_errors(imported: MappingImport) -> list[str]:
    return [
        f"row {row.row_number}: {row.field}: {row.reason}" for row in imported.rejects.order_by("row_number")[:_SHOWN]
    ]


def _seconds(task: BackgroundTask) -> float | None:
    if task.started_at is None:
        return None
    took: timedelta = (task.finished_at or timezone.now()) - task.started_at
    return round(took.total_seconds(), 3)


def _rate(rows: int, seconds: float | None) -> float | None:
    return round(rows / seconds, 1) if seconds else None
