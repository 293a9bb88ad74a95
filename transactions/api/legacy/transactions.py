"""Exports by link, uploads, and looking a waiting purchase up again."""

from typing import Any, Final

from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.legacy.views import LegacyView, MoreMethods, replying
from kamioi_site.api.views import FileView
from kamioi_site.http.downloads import csv_download
from transactions.api.base import current_user, task_links
from transactions.api.filters import transaction_filter
from transactions.api.legacy.forms import body
from transactions.api.views import bank_files, transactions
from transactions.errors import StatementQuestionsError
from transactions.selectors.customer import notifications_csv
from transactions.services.download_links import Download, open_download, sign_download
from transactions.services.manual_processing import retry_merchant
from transactions.statements.evidence import CONFIRM

_HINT: Final = (
    "This page cannot confirm it: send the file in smaller parts, or ask support to import it. Other clients send it "
    "again with confirm=true."
)


def _link(request: Request, name: str) -> Response:
    signed = sign_download(Download(current_user(request), name, request.query_params.dict()))
    url = reverse("api-legacy-downloads-claim", args=[signed])
    if "Origin" in request.headers:  # the page is on another one
        url = request.build_absolute_uri(url)
    return Response({"success": True, "download_url": url}, headers={"Cache-Control": "private, no-store"})


class ExportView(transactions.ExportView):
    """The documented CSV; a link for the legacy front end, which alone sends `Content-Type: application/json`."""

    def download(self, request: Request) -> HttpResponseBase:
        if request.content_type != "application/json" or "text/csv" in request.headers.get("Accept", ""):
            return super().download(request)
        transaction_filter(request.query_params)  # an invalid filter is refused now
        return _link(request, "transactions")


@replying()
def notifications_link(request: Request) -> Response:
    return _link(request, "notifications")


class DownloadView(LegacyView, FileView):
    """The file of a link."""

    media_type = "text/csv"
    authentication_classes = ()
    permission_classes = [AllowAny]

    def get(self, request: Request, claim: str) -> HttpResponseBase:
        user, name, query = open_download(claim)
        if name == "transactions":
            return transactions.transactions_download(request, user, transaction_filter(query))
        return csv_download(request._request, notifications_csv(user), filename="kamioi-notifications.csv")


class TransactionListView(MoreMethods, transactions.TransactionListView):
    undocumented = ("POST",)

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Store a purchase, as `POST /api/transactions` does."""
        return transactions.create_purchase(request)


class BankFileView(bank_files.BankFileView):
    def handle_exception(self, exc: Exception) -> Response:
        """Say what to do about a large upload, which the page cannot confirm."""
        response = super().handle_exception(exc)
        if isinstance(exc, StatementQuestionsError) and [question.key for question in exc.questions] == [CONFIRM]:
            response.data["error"] = f"{exc} {_HINT}"
        return response


@replying(method="post")
def process(request: Request) -> dict[str, Any]:
    """Look the customer's purchases that wait for this merchant up again (“Retry AI Mapping”); 409 if it waits too."""
    sent = body(request)
    name = sent.get("merchantName") or sent.get("description")
    if not isinstance(name, str):
        raise ValidationError({"merchantName": ["The merchant is required."]})
    task, ticker = retry_merchant(user=current_user(request), merchant=name)
    return {"data": {"aiAnalysis": {}, "investment": {"suggestedTicker": ticker}}} | task_links(task)
