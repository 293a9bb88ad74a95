"""The caller's imports of bank files: their results, and how to undo, cancel or repeat one."""

from collections.abc import Callable
from decimal import Decimal
from typing import TypedDict

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import Data, ErrorOutput
from kamioi_site.api.views import ApiView
from transactions.api.base import ImportQueuedOutput, accepted, current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.serializers import StatementAnswersInput
from transactions.models import StatementImport
from transactions.selectors import imports
from transactions.selectors.imports import ImportRow
from transactions.services.statement_repeats import repeat_statement
from transactions.services.statement_undo import cancel_statement_import, request_statement_undo, undo_effect


class UndoEffectData(TypedDict):
    """What an undo would still do: dollars of the purchases deleted, and what is given back."""

    deleted: int
    reversed: int
    spent: Decimal
    invested: Decimal
    fees: Decimal


class ImportDetail(ImportRow):
    """An import, and what undoing it would do."""

    undo: UndoEffectData


class ImportListView(ApiView):
    is_list = True

    @extend_schema(responses={200: Data[list[ImportRow]]}, tags=["imports"])
    def get(self, request: Request) -> Response:
        """Return the latest hundred imports, newest first."""
        return Response({"success": True, "data": imports.newest_imports(current_user(request))})


class ImportView(ApiView):
    @extend_schema(responses={200: Data[ImportDetail]}, tags=["imports"])
    def get(self, request: Request, import_id: int) -> Response:
        """Return one of the caller's imports."""
        statement = _own(request, import_id)
        effect = undo_effect(statement)
        undo = UndoEffectData(
            deleted=effect.deleted,
            reversed=effect.reversed,
            spent=effect.spent,
            invested=effect.invested,
            fees=effect.fees,
        )
        return Response({"success": True, "data": ImportDetail(**imports.import_row(statement), undo=undo)})


class ImportUndoView(ApiView):
    @extend_schema(request=None, responses={202: ImportQueuedOutput, 409: ErrorOutput}, tags=["imports"])
    @idempotent
    def post(self, request: Request, import_id: int) -> Response:
        """Delete what the import stored and reverse what was bought for it. 409 while the file is being read."""
        return _undo(request, import_id, request_statement_undo)


class ImportCancelView(ApiView):
    @extend_schema(request=None, responses={202: ImportQueuedOutput, 409: ErrorOutput}, tags=["imports"])
    @idempotent
    def post(self, request: Request, import_id: int) -> Response:
        """Stop an import that is queued or running, and remove what it stored. 409 when it has ended."""
        return _undo(request, import_id, cancel_statement_import)


class ImportRepeatView(ApiView):
    @extend_schema(
        request=StatementAnswersInput, responses={202: ImportQueuedOutput, 409: ErrorOutput}, tags=["imports"]
    )
    @idempotent
    def post(self, request: Request, import_id: int) -> Response:
        """Undo the import and import its file again with these answers. 409 when the file has been deleted."""
        answers = validated(StatementAnswersInput(data=request.data))
        statement = _own(request, import_id)
        repeat = repeat_statement(statement_id=statement.pk, answers=answers, actor=current_user(request))
        return accepted(repeat.task, import_id=repeat.pk)


def _undo(request: Request, import_id: int, ask: Callable[..., StatementImport]) -> Response:
    statement = ask(statement_id=_own(request, import_id).pk, actor=current_user(request))
    if statement.undo_task is None:  # not reached: asking sets it
        raise Http404
    return accepted(statement.undo_task, import_id=statement.pk)


def _own(request: Request, import_id: int) -> StatementImport:
    statement = imports.own_import(current_user(request), import_id)
    if statement is None:
        raise Http404
    return statement
