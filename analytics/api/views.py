"""A customer's statements: the list, the files, and having one made."""

from django.http import Http404, StreamingHttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.serializers import StatementInput
from analytics.downloads import report_download
from analytics.models import Report
from analytics.services.reports import account_statement_rows, get_report, parse_period, request_report
from kamioi_site.api.etags import ETagView
from kamioi_site.api.views import FileView
from transactions.api import serializers as shapes
from transactions.api.base import IdempotentView, accepted, current_user, errors, validated


class StatementListView(ETagView, IdempotentView):
    """A customer's statements."""

    area: str = "user"
    parser_classes = [JSONParser]

    @extend_schema(responses={200: shapes.StatementListOutput} | errors(401), tags=["statements"])
    def get(self, request: Request) -> Response:
        """Newest first: what is made, as PDF and CSV; and of the other months of the last two years the transactions as CSV."""
        rows = account_statement_rows(
            current_user(request),
            export_url=reverse(f"api-{self.area}-export"),
            download_url=lambda pk: reverse(f"api-{self.area}-statement-download", args=[pk]),
        )
        return Response({"success": True, "data": rows})

    @extend_schema(
        request=StatementInput,
        responses={202: shapes.QueuedOutput} | errors(400, 401, 409, 413, 415),
        tags=["statements"],
    )
    def post(self, request: Request) -> Response:
        """Have a month's statement made. A month that is made already, or being made, is the same task again."""
        period = parse_period(validated(StatementInput(data=request.data))["period"])
        user = current_user(request)
        task = request_report(kind=Report.Kind.STATEMENT, period=period, user=user, requested_by=user)
        return accepted(task)


class StatementDownloadView(FileView):
    """One file of a statement."""

    @extend_schema(
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, (200, "text/csv"): OpenApiTypes.BINARY}
        | errors(401, 404),
        tags=["statements"],
    )
    def get(self, request: Request, statement_id: int) -> StreamingHttpResponse:
        """One of the caller's own; anybody else's is 404."""
        report = get_report(current_user(request), statement_id)
        if report is None:
            raise Http404
        return report_download(request._request, report)
