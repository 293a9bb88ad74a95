"""The customer's API: thin views that parse, call one service or selector, and answer in the legacy shapes."""

from collections.abc import Collection
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import logout
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, ValidationError
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.views import ApiView, FileView, error_body, page_limit
from kamioi_site.auth.login_throttling import LoginAttemptCounter
from kamioi_site.auth.two_factor import OtpRequiredError
from kamioi_site.http.downloads import csv_download
from kamioi_site.http.server_sent_events import Event, event_source, events_response
from transactions.api import serializers as shapes
from transactions.api.authentication import log_in, revoke_token
from transactions.api.base import (
    IdempotentView,
    TransactionsView,
    accepted,
    current_user,
    errors,
    idempotency_key,
    validated,
)
from transactions.api.filters import FILTERS, transaction_filter
from transactions.api.statements import OfxParser, QfxParser, StatementParser, csv_of_items
from transactions.migration_phase import ReadSource, get_read_source
from transactions.models import ApiToken, BackgroundTask, User
from transactions.selectors import customer, portfolio, transaction_pages
from transactions.selectors.transaction_pages import TransactionFilter, transaction_page_rows
from transactions.services.background_tasks import EVENTS
from transactions.services.ingest import create_transaction, statement_rejects_csv, upload_statement


# --- Accounts ---------------------------------------------------------------------------------------------------
class LogInRateLimit(LoginAttemptCounter):
    """Log-ins are counted by address and by e-mail. When nobody can count them, nobody may guess either."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the attempt."""
        body = request.data
        return self.may_try(request._request, str(body.get("email", "")) if isinstance(body, dict) else "")


class AccountView(ApiView):
    """Views of one area of the front end: user, family, business or admin."""

    area: str = "user"

    def person(self, user: User) -> dict[str, Any]:
        """The user as this area's front end knows them."""
        is_admin = self.area == "admin"
        role = "admin" if is_admin else user.account_type
        person: dict[str, Any] = {
            "id": user.pk,
            "email": user.email,
            "name": user.name,
            "role": role,
            "dashboard": role,
            "account_number": user.account_number,
        }
        if is_admin:
            person["permissions"] = sorted(user.get_all_permissions())
        return person


class LogInView(AccountView):
    """Exchange e-mail and password for a token."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = [LogInRateLimit]
    parser_classes = [JSONParser]

    def get_authenticate_header(self, request: Request) -> str:
        """A 401 here asks for a token too."""
        return "Bearer"

    @extend_schema(
        request=shapes.LogInInput,
        responses={200: shapes.LogInOutput} | errors(400, 401, 403, 413),
        auth=[],
        tags=["accounts"],
    )
    def post(self, request: Request) -> Response:
        """Log in. An unknown e-mail and a wrong password are the same 401.

        Staff with a second factor send its code as `otp`; when it is missing or wrong, the 401 names it in `errors`.
        """
        data = validated(shapes.LogInInput(data=request.data))
        try:
            found = log_in(
                request,
                email=data["email"],
                password=data["password"],
                staff_only=self.area == "admin",
                code=data.get("otp", ""),
            )
        except OtpRequiredError as error:
            return Response(error_body(str(error), {"otp": [str(error)]}), status=error.status_code)
        if found is None:
            raise AuthenticationFailed("E-mail or password is wrong.")
        user, token = found
        return Response({"success": True, "token": token, "user": self.person(user)})


class LogOutView(AccountView):
    """End a token's life."""

    @extend_schema(request=None, responses={200: shapes.MessageOutput} | errors(401), tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Revoke the token of this request (or end the browser's session)."""
        if isinstance(request.auth, ApiToken):
            revoke_token(request.auth)
        else:
            logout(request._request)
        return Response({"success": True, "message": "Logged out."})


class MeView(AccountView):
    """Who is calling."""

    @extend_schema(responses={200: shapes.MeOutput} | errors(401, 403), tags=["accounts"])
    def get(self, request: Request) -> Response:
        """The caller; under /api/admin/ for staff only."""
        if self.area == "admin" and not current_user(request).is_staff:
            raise PermissionDenied("This is for staff.")
        return Response({"success": True, "user": self.person(current_user(request))})


class RoundUpSettingsView(ETagView):
    """How much is set aside at each purchase."""

    @extend_schema(responses={200: shapes.RoundUpOutput} | errors(401), tags=["accounts"])
    def get(self, request: Request) -> Response:
        """The settings in force."""
        return self._answer(current_user(request))

    @extend_schema(
        request=shapes.RoundUpInput, responses={200: shapes.RoundUpOutput} | errors(400, 401, 413), tags=["accounts"]
    )
    def put(self, request: Request) -> Response:
        """Change any of them. Purchases already processed keep their round-up."""
        user = current_user(request)
        changes = validated(shapes.RoundUpInput(data=request.data))
        for field, value in changes.items():
            setattr(user, field, value)
        user.save(update_fields=[*changes, "updated_at"])
        return self._answer(user)

    @staticmethod
    def _answer(user: User) -> Response:
        return Response(
            {
                "success": True,
                "round_up_amount": user.round_up_amount,
                "round_up_enabled": user.round_up_enabled,
                "round_up_rule": user.round_up_rule,
            }
        )


# --- Transactions -----------------------------------------------------------------------------------------------
class TransactionCreateView(ApiView):
    """Purchases come in here, one at a time."""

    parser_classes = [JSONParser]

    idempotent = True  # by a rule of its own: a purchase's key is kept for good

    @extend_schema(
        request=shapes.TransactionInput,
        responses={
            201: shapes.TransactionCreatedOutput,
            200: OpenApiResponse(shapes.TransactionCreatedOutput, "Sent before with the same key."),
        }
        | errors(400, 401, 409, 413),
        tags=["transactions"],
    )
    def post(self, request: Request) -> Response:
        """Store a purchase of the caller; it is processed in the background."""
        data = validated(shapes.TransactionInput(data=request.data))
        created = create_transaction(
            user=current_user(request), idempotency_key=idempotency_key(request) or None, **data
        )
        return Response(
            {"success": True, "transaction_id": created.transaction_id, "status": created.status},
            status=status.HTTP_201_CREATED if created.created else status.HTTP_200_OK,
        )


class TransactionBulkView(IdempotentView):
    """Many purchases at once."""

    parser_classes = [JSONParser, MultiPartParser, StatementParser, OfxParser, QfxParser]

    def max_body_bytes(self, request: Request) -> int | None:
        """A JSON list is held in memory, so it is bounded like any body; a file may be as long as a statement."""
        is_list = "json" in (request.content_type or "")
        return super().max_body_bytes(request) if is_list else settings.STATEMENT_MAX_BYTES

    @extend_schema(
        request={
            "application/json": shapes.TransactionInput(many=True),
            "multipart/form-data": shapes.BulkFileInput,
            "text/csv": OpenApiTypes.BINARY,
            "application/x-ofx": OpenApiTypes.BINARY,
            "application/vnd.intu.qfx": OpenApiTypes.BINARY,
        },
        responses={202: shapes.QueuedOutput} | errors(400, 401, 409, 413, 415),
        tags=["transactions"],
    )
    def post(self, request: Request) -> Response:
        """Take a list or a bank statement (CSV, Excel, OFX, QFX); rows are read in the background, bad ones reported."""
        with _statement_file(request) as file:
            user = current_user(request)
            task = upload_statement(
                user=user, filename=file.name or "statement.csv", content=file, requested_by=user
            ).task
        return accepted(task)


def _statement_file(request: Request) -> "File[bytes]":
    """What was sent, as a file; the caller closes it."""
    if isinstance(request.data, list):
        return ContentFile(csv_of_items(request.data), name="transactions.json.csv")
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        raise ValidationError(
            {"file": ["Send a JSON list, or a CSV, Excel, OFX or QFX file in the form field “file”."]}
        )
    if not file.size:
        file.close()
        raise ValidationError({"file": ["The file is empty."]})
    return file


class TransactionListView(TransactionsView):
    """A customer's own transactions."""

    @extend_schema(
        parameters=[
            OpenApiParameter("cursor", OpenApiTypes.STR, description="`next_cursor` of the page before."),
            OpenApiParameter("limit", OpenApiTypes.INT, description="Rows of a page, 1 to 500; 100 when absent."),
            *FILTERS,
        ],
        responses={
            200: PolymorphicProxySerializer(
                "TransactionListOrPage",
                [shapes.TransactionListOutput, shapes.TransactionPageOutput],
                resource_type_field_name=None,
            )
        }
        | errors(400, 401),
        tags=["transactions"],
    )
    def get(self, request: Request) -> HttpResponse:
        """The newest hundred; with `cursor` or `limit` a page of all, newest first."""
        user, wanted, cursor, limit = current_user(request), self.wanted, *self.asked
        if limit is None:
            return self.answered(partial(_newest, user, wanted, self.read_source))
        return self.answered(partial(_page, user, wanted, cursor, limit))

    def page(self, request: Request) -> str:
        """The filter, and the page of it."""
        self.wanted = transaction_filter(request)
        cursor, limit = request.query_params.get("cursor"), request.query_params.get("limit")
        self.asked = (cursor, None if cursor is None and limit is None else page_limit(request))
        return f"{self.asked[1] or 'newest'}.{self.wanted.key}" + ("" if self.asked[1] is None else f".{cursor or ''}")


def _newest(user: User, wanted: TransactionFilter, source: ReadSource) -> dict[str, Any]:
    if wanted.key:
        rows, _ = transaction_page_rows(user, wanted, cursor=None, limit=transaction_pages.NEWEST)
    else:
        rows = transaction_pages.newest_transactions(user, source)
    return {"success": True, "data": {"transactions": rows, "total": len(rows), "user_id": user.pk}}


def _page(user: User, wanted: TransactionFilter, cursor: str | None, limit: int) -> dict[str, Any]:
    rows, next_cursor = transaction_page_rows(user, wanted, cursor=cursor, limit=limit)
    return {"data": rows, "next_cursor": next_cursor, "has_more": next_cursor is not None}


class TransactionDetailView(ETagView):
    """One transaction."""

    @extend_schema(responses={200: shapes.TransactionDetailOutput} | errors(401, 404), tags=["transactions"])
    def get(self, request: Request, transaction_id: int) -> Response:
        """One of the caller's own; anybody else's is 404."""
        found = transaction_pages.transactions_of(current_user(request)).filter(pk=transaction_id).first()
        if found is None:
            raise Http404
        return Response({"success": True, "data": transaction_pages.transaction_row(found)})


# --- What became of it ------------------------------------------------------------------------------------------
class PortfolioView(ETagView):
    """What the caller owns."""

    @extend_schema(responses={200: shapes.PortfolioOutput} | errors(401), tags=["portfolio"])
    def get(self, request: Request) -> Response:
        """Holdings at their newest quotes."""
        user = current_user(request)
        return Response({"success": True, "data": portfolio.portfolio(user, get_read_source(user))})


class NotificationListView(ETagView):
    """Messages for the caller."""

    @extend_schema(responses={200: shapes.NotificationListOutput} | errors(401), tags=["portfolio"])
    def get(self, request: Request) -> Response:
        """The newest hundred."""
        user = current_user(request)
        return Response({"success": True, "data": customer.newest_notifications(user, get_read_source(user))})


# --- Background tasks -------------------------------------------------------------------------------------------
class TaskView(ApiView):
    """How far a background task is."""

    @extend_schema(responses={200: shapes.TaskOutput} | errors(401, 404), tags=["tasks"])
    def get(self, request: Request, task_id: UUID) -> Response:
        """A task of the caller's own, or any for staff; anybody else's is 404."""
        return Response(_task_body(_task(request, task_id)))


class TaskEventsView(FileView):
    """How far a background task is, as it changes."""

    answers = ("text/event-stream", "events")

    @extend_schema(
        parameters=[OpenApiParameter("Last-Event-ID", OpenApiTypes.INT, OpenApiParameter.HEADER)],
        responses={(200, "text/event-stream"): OpenApiTypes.STR, 204: OpenApiResponse(description="Seen to its end.")}
        | errors(401, 404, 503),
        tags=["tasks"],
    )
    def get(self, request: Request, task_id: UUID) -> HttpResponseBase:
        """Server-sent events with the body of `GET /api/tasks/{task_id}`, the last one when the task has ended.

        Every event is the whole state, and its id grows: a reader that was away says `Last-Event-ID` and misses nothing.
        204 when it has seen the last one.
        """
        task = _task(request, task_id)
        return events_response(
            request._request,
            source=EVENTS,
            key=str(task.pk),
            caller=str(current_user(request).pk),
            event=_task_event(task),
        )


def _task_event(task: BackgroundTask) -> Event:
    done = task.status in {BackgroundTask.Status.COMPLETED, BackgroundTask.Status.FAILED}
    return Event(task.version, _task_body(task), done)


def _tasks_look(keys: Collection[str]) -> dict[str, Event]:
    return {
        str(task.pk): _task_event(task)
        for task in BackgroundTask.objects.filter(pk__in=keys).select_related("statement")
    }


event_source(EVENTS, _tasks_look)


def _task_body(task: BackgroundTask) -> dict[str, Any]:
    body = {
        "success": True,
        "task_id": task.pk,
        "name": task.name,
        "status": task.status,
        "progress": task.progress,
        "total": task.total,
        "percent": _percent(task),
        "result": task.result,
        "error": task.error,
    }
    if _is_import(task):
        body["rejects_url"] = reverse("api-task-rejects", args=[task.pk])
    return body


class TaskRejectsView(ApiView):
    """The rows of an import that could not be read."""

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR} | errors(401, 404), tags=["tasks"])
    def get(self, request: Request, task_id: UUID) -> StreamingHttpResponse:
        """CSV with row number, field, reason and the row itself; no cell runs as a formula."""
        task = _task(request, task_id)
        if not _is_import(task):
            raise Http404
        return csv_download(
            request._request, statement_rejects_csv(statement=task.statement), filename=f"rejects-{task.pk}.csv"
        )


def _task(request: Request, task_id: UUID) -> BackgroundTask:
    task = customer.task_visible_to(current_user(request), task_id)
    if task is None:
        raise Http404
    return task


def _is_import(task: BackgroundTask) -> bool:
    return hasattr(task, "statement")  # read with the task, no query


def _percent(task: BackgroundTask) -> float | None:
    if task.status == BackgroundTask.Status.COMPLETED:
        return 100.0
    return round(min(100.0, task.progress * 100 / task.total), 1) if task.total else None
