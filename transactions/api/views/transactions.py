"""Sending purchases, one or many, and reading them."""

from functools import partial
from typing import Annotated, TypedDict
from uuid import UUID

from django.core.files.base import ContentFile, File
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.pagination import CURSOR, LIMIT, page_limit
from kamioi_site.api.payloads import Data, ErrorOutput, SuccessOutput
from kamioi_site.api.views import ApiView, FileView
from kamioi_site.http.downloads import csv_download
from transactions.api.base import ImportQueuedOutput, TransactionsView, accepted, current_user, validated
from transactions.api.filters import transaction_filter
from transactions.api.idempotency import idempotency_key, idempotent, request_fingerprint
from transactions.api.legacy.statuses import ListedTransaction, listed
from transactions.api.parsers import (
    OfxParser,
    QfxParser,
    StatementParser,
    csv_of_items,
    statement_options,
    uploaded_file,
)
from transactions.api.serializers import BulkFileInput, StatementUploadInput, TransactionFilterInput, TransactionInput
from transactions.api.statement_previews import StatementPreviewOutput, statement_preview
from transactions.migration_phase import ReadSource
from transactions.models import Transaction, User
from transactions.selectors import transaction_pages
from transactions.selectors.transaction_pages import TransactionFilter, TransactionRow
from transactions.services.ingest import create_transaction, upload_statement


class TransactionCreatedOutput(SuccessOutput):
    """The purchase is stored and will be processed."""

    transaction_id: int
    status: Annotated[str, Transaction.Status]


class TransactionListData(TypedDict):
    """The latest hundred transactions."""

    transactions: list[ListedTransaction]
    total: Annotated[int, "Number of transactions in this response."]
    user_id: int


class TransactionListOutput(SuccessOutput):
    """The latest hundred transactions, returned without `cursor` and `limit`."""

    data: TransactionListData


class TransactionPageOutput(TypedDict):
    """One page, newest first. Repeat with `cursor=next_cursor` while `has_more`."""

    data: list[TransactionRow]
    next_cursor: str | None
    has_more: bool


class TransactionCreateView(ApiView):
    # Not by the `idempotent` decorator: the key of a purchase is stored for good.
    has_idempotency_key = True

    @extend_schema(
        request=TransactionInput,
        responses={
            201: TransactionCreatedOutput,
            200: OpenApiResponse(TransactionCreatedOutput, "Already sent with the same key."),
            409: ErrorOutput,
        },
        tags=["transactions"],
    )
    def post(self, request: Request) -> Response:
        """Store a purchase of the caller; it is processed in the background."""
        return create_purchase(request)


def create_purchase(request: Request) -> Response:
    """Store the purchase in the body."""
    data = validated(TransactionInput(data=request.data))
    result = create_transaction(
        user=current_user(request),
        idempotency_key=idempotency_key(request) or None,
        fingerprint=UUID(request_fingerprint(request)[:32]),
        **data,
    )
    body = TransactionCreatedOutput(success=True, transaction_id=result.transaction_id, status=result.status)
    return Response(body, status=status.HTTP_201_CREATED if result.created else status.HTTP_200_OK)


class TransactionBulkView(ApiView):
    parser_classes = [JSONParser, MultiPartParser, StatementParser, OfxParser, QfxParser]

    @extend_schema(
        parameters=[StatementUploadInput],
        request={
            "application/json": TransactionInput(many=True),
            "multipart/form-data": BulkFileInput,
            "text/csv": OpenApiTypes.BINARY,
            "application/x-ofx": OpenApiTypes.BINARY,
            "application/vnd.intu.qfx": OpenApiTypes.BINARY,
        },
        responses={202: ImportQueuedOutput, 200: StatementPreviewOutput},
        tags=["transactions"],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Send a list or a bank statement (CSV, Excel, OFX, QFX). Invalid rows are reported by the task."""
        user = current_user(request)
        with _statement_file(request) as file:
            options = statement_options(request)
            filename = file.name or "statement.csv"
            if options.dry_run:
                return Response(
                    statement_preview(
                        file, filename=filename, user=user, answers=options.answers, account=options.account
                    )
                )
            statement = upload_statement(
                user=user,
                filename=filename,
                content=file,
                requested_by=user,
                answers=options.answers,
                account=options.account,
            )
        return accepted(statement.task, import_id=statement.pk)


def _statement_file(request: Request) -> "File[bytes]":
    """Return the body as a file, which the caller closes."""
    if isinstance(request.data, list):
        return ContentFile(csv_of_items(request.data), name="transactions.json.csv")
    return uploaded_file(
        request, missing="Send a JSON list, or a CSV, Excel, OFX or QFX file in the form field “file”."
    )


class TransactionListView(TransactionsView):
    @extend_schema(
        parameters=[CURSOR, LIMIT, TransactionFilterInput],
        responses={200: TransactionListOutput | TransactionPageOutput},
        tags=["transactions"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Return the latest hundred; with `cursor` or `limit` a page, newest first."""
        user, (filters, cursor, limit) = current_user(request), self._query
        if limit is None:
            return self.cached(partial(_newest, user, filters, self.read_source))
        return self.cached(partial(_page, user, filters, cursor, limit))

    def cache_page(self, request: Request) -> str:
        """Parse the query and name the page that it selects."""
        filters = transaction_filter(request.query_params)
        cursor = request.query_params.get("cursor")
        paged = cursor is not None or request.query_params.get("limit") is not None
        self._query = filters, cursor, page_limit(request) if paged else None
        return f"{self._query[2]}.{filters.key}.{cursor or ''}" if paged else f"newest.{filters.key}"


def _newest(user: User, filters: TransactionFilter, source: ReadSource) -> TransactionListOutput:
    if filters.key:
        rows, _ = transaction_pages.transaction_page_rows(user, filters, cursor=None, limit=transaction_pages.NEWEST)
    else:
        rows = transaction_pages.newest_transactions(user, source)
    data: TransactionListData = {"transactions": [listed(row) for row in rows], "total": len(rows), "user_id": user.pk}
    return {"success": True, "data": data}


def _page(user: User, filters: TransactionFilter, cursor: str | None, limit: int) -> TransactionPageOutput:
    rows, next_cursor = transaction_pages.transaction_page_rows(user, filters, cursor=cursor, limit=limit)
    return {"data": rows, "next_cursor": next_cursor, "has_more": next_cursor is not None}


class TransactionDetailView(ETagView):
    @extend_schema(responses={200: Data[TransactionRow]}, tags=["transactions"])
    def get(self, request: Request, transaction_id: int) -> Response:
        """Return one of the caller's transactions."""
        row = transaction_pages.transactions_of(current_user(request)).with_ids(transaction_id).first()
        if row is None:
            raise Http404
        return Response({"success": True, "data": transaction_pages.transaction_row(row)})


class ExportView(FileView):
    media_type = "text/csv"

    @extend_schema(
        parameters=[TransactionFilterInput], responses={(200, "text/csv"): OpenApiTypes.STR}, tags=["transactions"]
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return the matching transactions, newest first. No cell runs as a formula."""
        return self.download(request)

    def download(self, request: Request) -> HttpResponseBase:
        """Return the file."""
        return transactions_download(request, current_user(request), transaction_filter(request.query_params))


def transactions_download(request: Request, user: User, filters: TransactionFilter) -> StreamingHttpResponse:
    """Stream the customer's transactions as CSV."""
    lines = transaction_pages.transactions_csv(user, filters)
    return csv_download(request._request, lines, filename="kamioi-transactions.csv")
