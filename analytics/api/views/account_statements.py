"""A customer's account statements: the list, the files, and requesting one."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404, StreamingHttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.serializers import StatementInput
from analytics.downloads import report_download
from analytics.models import Report
from analytics.selectors.reports import account_statement_rows, get_account_statement
from analytics.services.reports.requests import parse_period, request_report
from kamioi_site.api.etags import ETagView
from kamioi_site.api.payloads import Data
from kamioi_site.api.views import FileView
from transactions.api.base import QueuedOutput, accepted, current_user, validated
from transactions.api.idempotency import idempotent
from transactions.selectors.customer import StatementRow


class StatementListView(ETagView):
    area: str = "user"

    @extend_schema(responses={200: Data[list[StatementRow]]}, tags=["statements"])
    def get(self, request: Request) -> Response:
        """Return the statements as PDF and CSV, newest first; for other months of two years the transactions as CSV."""
        rows = account_statement_rows(
            current_user(request),
            export_url=reverse(f"api-{self.area}-export"),
            download_url=lambda pk: reverse(f"api-{self.area}-statement-download", args=[pk]),
        )
        return Response(self.payload(request, rows))

    def payload(self, request: Request, rows: list[StatementRow]) -> Mapping[str, Any]:
        return {"success": True, "data": rows}

    @extend_schema(request=StatementInput, responses={202: QueuedOutput}, tags=["statements"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Request the statement of a month. A finished or pending statement returns the same task again."""
        period = parse_period(validated(StatementInput(data=request.data))["period"])
        user = current_user(request)
        return accepted(request_report(kind=Report.Kind.STATEMENT, period=period, user=user, requested_by=user))


class StatementDownloadView(FileView):
    @extend_schema(
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, (200, "text/csv"): OpenApiTypes.BINARY},
        tags=["statements"],
    )
    def get(self, request: Request, statement_id: int) -> StreamingHttpResponse:
        """Download one of the caller's files."""
        report = get_account_statement(current_user(request), statement_id)
        if report is None:
            raise Http404
        return report_download(request._request, report)
