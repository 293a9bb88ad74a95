"""The progress of background tasks: polled, or as server-sent events."""

from collections.abc import Collection
from typing import Annotated, Any, NotRequired, TypedDict
from uuid import UUID

from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import ErrorOutput, SuccessOutput
from kamioi_site.api.views import ApiView, FileView
from kamioi_site.http.downloads import csv_download
from kamioi_site.http.server_sent_events import Event, events_response, register_event_source
from transactions.api.base import current_user
from transactions.models import BackgroundTask
from transactions.selectors.customer import task_visible_to
from transactions.services.background_tasks import EVENTS


class TaskOutput(SuccessOutput):
    """The progress of a background task. `percent` is null while the total is unknown."""

    task_id: UUID
    name: str
    status: Annotated[str, BackgroundTask.Status]
    progress: int
    total: int | None
    percent: float | None
    result: dict[str, Any]
    error: str
    rejects_url: NotRequired[str]


class TaskEvent(TypedDict):
    """A server-sent event."""

    data: Annotated[str, "The body of `GET /api/tasks/{task_id}`."]
    id: str
    event: NotRequired[str]
    retry: NotRequired[int]


class TaskView(ApiView):
    @extend_schema(responses={200: TaskOutput}, tags=["tasks"])
    def get(self, request: Request, task_id: UUID) -> Response:
        """Return one of the caller's tasks; staff see those whose data they may view."""
        return Response(_progress(_task(request, task_id)))


class TaskEventsView(FileView):
    media_type = "text/event-stream"

    @extend_schema(
        parameters=[OpenApiParameter("Last-Event-ID", OpenApiTypes.STR, OpenApiParameter.HEADER)],
        responses={
            (200, "text/event-stream"): TaskEvent,
            204: OpenApiResponse(description="The client has seen the last event."),
            503: ErrorOutput,
        },
        tags=["tasks"],
    )
    def get(self, request: Request, task_id: UUID) -> HttpResponseBase:
        """Send events with the body of `GET /api/tasks/{task_id}` until the task has ended.

        Every event contains the whole state; a client that reconnects with `Last-Event-ID` misses nothing.
        """
        task = _task(request, task_id)
        return events_response(
            request._request, source=EVENTS, key=str(task.pk), caller=str(current_user(request).pk), event=_event(task)
        )


class TaskRejectsView(ApiView):
    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR, 403: ErrorOutput}, tags=["tasks"])
    def get(self, request: Request, task_id: UUID) -> StreamingHttpResponse:
        """Return row number, field, reason and the row itself as CSV. No cell runs as a formula.

        Staff need the permission to view rejected rows, even of files that they uploaded for a customer.
        """
        task = _task(request, task_id)
        if not _is_import(task):
            raise Http404
        user = current_user(request)
        if task.statement.user_id != user.pk and not user.has_perm("transactions.view_statementreject"):
            raise PermissionDenied
        lines = task.statement.rejects_csv()
        return csv_download(request._request, lines, filename=f"rejects-{task.pk}.csv")


def _task(request: Request, task_id: UUID) -> BackgroundTask:
    task = task_visible_to(current_user(request), task_id)
    if task is None:
        raise Http404
    return task


def _is_import(task: BackgroundTask) -> bool:
    return hasattr(task, "statement")  # joined, no query


def _progress(task: BackgroundTask) -> TaskOutput:
    body = TaskOutput(
        success=True,
        task_id=task.pk,
        name=task.name,
        status=task.status,
        progress=task.progress,
        total=task.total,
        percent=_percent(task),
        result=task.result,
        error=task.error,
    )
    if _is_import(task):
        body["rejects_url"] = reverse("api-task-rejects", args=[task.pk])
    return body


def _percent(task: BackgroundTask) -> float | None:
    if task.status == BackgroundTask.Status.COMPLETED:
        return 100.0
    return round(min(100.0, task.progress * 100 / task.total), 1) if task.total else None


def _event(task: BackgroundTask) -> Event:
    return Event(task.version, dict(_progress(task)), not task.is_open)


def _current_events(task_ids: Collection[str]) -> dict[str, Event]:
    tasks = BackgroundTask.objects.filter(pk__in=task_ids).select_related("statement")
    return {str(task.pk): _event(task) for task in tasks}


register_event_source(EVENTS, _current_events)
