"""A customer's totals, messages, goals, statements, export and bank files, in the shapes of the legacy front ends."""

from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.views import ApiView, FileView
from kamioi_site.http.downloads import csv_download
from transactions.api import serializers as shapes
from transactions.api.base import (
    IdempotentView,
    TransactionsView,
    accepted,
    current_user,
    errors,
    task_links,
    validated,
)
from transactions.api.filters import FILTERS, transaction_filter
from transactions.models import BackgroundTask, StatementImport, User
from transactions.selectors import customer
from transactions.selectors.transaction_pages import transactions_csv
from transactions.services.goals import create_goal, delete_goal, update_goal
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.notifications import delete_notification, mark_all_notifications_read, mark_notification_read
from transactions.services.privacy import export_path, request_export

SHOWN_ERRORS = 100


class AreaView(ApiView):
    """Views that differ a little between user, family and business."""

    area: str = "user"


# --- Totals -----------------------------------------------------------------------------------------------------
class TotalView(TransactionsView):
    """A sum over the caller's completed purchases."""

    column: str  # of `transactions`
    name: str

    def page(self, request: Request) -> str:
        """There is one."""
        return f"total.{self.column}"

    def total(self, request: Request) -> HttpResponse:
        """The answer."""
        return self.answered(partial(_total, current_user(request), self.column, self.name))


class RoundUpTotalView(TotalView):
    """What was set aside."""

    column, name = "round_up", "roundups"

    @extend_schema(responses={200: shapes.RoundUpTotalOutput} | errors(401), tags=["portfolio"])
    def get(self, request: Request) -> HttpResponse:
        """Of all time, and of the last thirty days."""
        return self.total(request)


class FeeTotalView(TotalView):
    """What was paid in fees."""

    column, name = "fee", "fees"

    @extend_schema(responses={200: shapes.FeeTotalOutput} | errors(401), tags=["portfolio"])
    def get(self, request: Request) -> HttpResponse:
        """Of all time, and of the last thirty days."""
        return self.total(request)


def _total(user: User, column: str, name: str) -> dict[str, Any]:
    found = customer.completed_total(user, column)
    return {
        "success": True,
        "data": {
            f"total_{name}": found["total"],
            f"monthly_{name}": found["monthly"],
            "count": found["count"],
            "monthly_count": found["monthly_count"],
        },
    }


# --- Messages ---------------------------------------------------------------------------------------------------
class NotificationView(ApiView):
    """One message."""

    @extend_schema(responses={200: shapes.MessageOutput} | errors(401, 404), tags=["portfolio"])
    def delete(self, request: Request, notification_id: int) -> Response:
        """Delete it; anybody else's is 404."""
        if not delete_notification(user=current_user(request), notification_id=notification_id):
            raise Http404
        return Response({"success": True, "message": "The message is deleted."})


class NotificationReadView(ApiView):
    """Whether a message is read."""

    @extend_schema(request=None, responses={200: shapes.MessageOutput} | errors(401, 404), tags=["portfolio"])
    def put(self, request: Request, notification_id: int) -> Response:
        """It is read; anybody else's is 404."""
        if not mark_notification_read(user=current_user(request), notification_id=notification_id):
            raise Http404
        return Response({"success": True, "message": "The message is read."})


class NotificationReadAllView(ApiView):
    """Whether messages are read."""

    @extend_schema(request=None, responses={200: shapes.MessageOutput} | errors(401), tags=["portfolio"])
    def put(self, request: Request) -> Response:
        """All of the caller's are."""
        count = mark_all_notifications_read(user=current_user(request))
        return Response({"success": True, "message": f"{count} messages are read."})


# --- Goals ------------------------------------------------------------------------------------------------------
class GoalListView(AreaView, IdempotentView, ETagView):
    """What the caller saves for."""

    parser_classes = [JSONParser]

    @extend_schema(responses={200: shapes.GoalListOutput} | errors(401), tags=["goals"])
    def get(self, request: Request) -> Response:
        """All of them, newest first."""
        return Response({"success": True, "data": customer.goals(current_user(request))})

    @extend_schema(
        request=shapes.GoalInput, responses={201: shapes.GoalDetailOutput} | errors(400, 401, 413), tags=["goals"]
    )
    def post(self, request: Request) -> Response:
        """A new one."""
        values = {"goal_type": "personal" if self.area == "user" else self.area} | validated(
            shapes.GoalInput(data=request.data)
        )
        goal = create_goal(user=current_user(request), **values)
        return Response({"success": True, "data": customer.goal_row(goal)}, status=status.HTTP_201_CREATED)


class GoalView(ApiView):
    """One goal."""

    parser_classes = [JSONParser]

    @extend_schema(
        request=shapes.GoalInput, responses={200: shapes.GoalDetailOutput} | errors(400, 401, 404, 413), tags=["goals"]
    )
    def put(self, request: Request, goal_id: int) -> Response:
        """Change it; what is left out stays. Anybody else's is 404."""
        changes = validated(shapes.GoalInput(data=request.data, partial=True))
        goal = update_goal(user=current_user(request), goal_id=goal_id, changes=changes)
        if goal is None:
            raise Http404
        return Response({"success": True, "data": customer.goal_row(goal)})

    @extend_schema(responses={200: shapes.MessageOutput} | errors(401, 404), tags=["goals"])
    def delete(self, request: Request, goal_id: int) -> Response:
        """Delete it; anybody else's is 404."""
        if not delete_goal(user=current_user(request), goal_id=goal_id):
            raise Http404
        return Response({"success": True, "message": "The goal is deleted."})


# --- Files ------------------------------------------------------------------------------------------------------
class ExportView(FileView):
    """A customer's transactions as a file."""

    answers = ("text/csv", "csv")

    @extend_schema(
        parameters=FILTERS, responses={(200, "text/csv"): OpenApiTypes.STR} | errors(400, 401), tags=["transactions"]
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Everything that is asked for, newest first, as CSV; no cell runs as a formula."""
        wanted = transaction_filter(request)
        reply = csv_download(
            request._request, transactions_csv(current_user(request), wanted), filename="kamioi-transactions.csv"
        )
        reply["Cache-Control"] = "private, no-store"
        return reply


class BankFileView(IdempotentView):
    """A bank's file."""

    parser_classes = [MultiPartParser]

    def max_body_bytes(self, request: Request) -> int | None:
        """As long as a statement may be."""
        return settings.STATEMENT_MAX_BYTES

    @extend_schema(
        request={"multipart/form-data": shapes.BulkFileInput},
        responses={200: shapes.BankFileOutput, 202: shapes.BankFileOutput} | errors(400, 401, 413, 415),
        tags=["transactions"],
    )
    def post(self, request: Request) -> Response:
        """Read a CSV, Excel, OFX or QFX file. A small one is read at once; for a larger one, 202 and a task."""
        file = request.FILES.get("file")
        if not isinstance(file, UploadedFile):
            raise ValidationError({"file": ["Send a CSV, Excel, OFX or QFX file in the form field “file”."]})
        if not file.size:
            raise ValidationError({"file": ["The file is empty."]})
        user, at_once = current_user(request), file.size <= settings.STATEMENT_SYNC_BYTES
        imported = upload_statement(
            user=user, filename=file.name or "statement.csv", content=file, requested_by=user, send=not at_once
        )
        if at_once:
            imported = run_statement_import(task_id=imported.task_id) or imported
        if imported.task.error:
            raise ValidationError({"file": [imported.task.error]})
        return Response(_bank_file_body(imported), status=status.HTTP_200_OK if at_once else status.HTTP_202_ACCEPTED)


def _bank_file_body(imported: StatementImport) -> dict[str, Any]:
    good = imported.rows_added + imported.rows_duplicate
    rejects = imported.rejects.order_by("row_number")[:SHOWN_ERRORS] if imported.rows_rejected else []
    ended = imported.task.status == imported.task.Status.COMPLETED
    return {
        "success": True,
        "message": (
            f"{imported.rows_added} transactions added, {imported.rows_duplicate} known already, "
            f"{imported.rows_rejected} rows could not be read."
            if ended
            else "The file is being read."
        ),
        "data": {
            "processed": good,
            "processed_rows": good,
            "total_rows": imported.rows_done,
            "added": imported.rows_added,
            "duplicates": imported.rows_duplicate,
            "error_count": imported.rows_rejected,
            "errors": [f"Row {row.row_number}: {row.field}: {row.reason}" for row in rejects],
        },
        **task_links(imported.task),
        "rejects_url": reverse("api-task-rejects", args=[imported.task_id]),
    }


# --- What is held about the caller --------------------------------------------------------------------------------
class DataExportView(ApiView):
    """Everything held about the caller."""

    @extend_schema(request=None, responses={202: shapes.QueuedOutput} | errors(401), tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Have the file made: 202; poll the task, then download it. One that is being made is not made twice."""
        return accepted(request_export(person=current_user(request), actor=current_user(request)))


class DataExportFileView(FileView):
    """The file of everything held about the caller."""

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY} | errors(401, 404), tags=["accounts"])
    def get(self, request: Request, task_id: UUID) -> FileResponse:
        """The ZIP file; for a week after it was made."""
        task = BackgroundTask.objects.filter(
            pk=task_id, name="export_person", user=current_user(request), arguments__user_id=current_user(request).pk
        ).first()
        if task is None or not export_path(task).exists():
            raise Http404
        return FileResponse(export_path(task).open("rb"), as_attachment=True, filename="kamioi-data.zip")
