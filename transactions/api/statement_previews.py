"""A dry run of an upload: what an import would do, in the response, without storing anything."""

from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, BinaryIO, TypedDict, cast

from django.core.files.base import File
from rest_framework.exceptions import ValidationError

from transactions.models import User
from transactions.services.statement_previews import preview_statement
from transactions.statements.excel import is_workbook


class StatementPreviewData(TypedDict):
    """How the file is read and what it adds up to. With `questions` nothing is added up."""

    columns: Annotated[dict[str, str], "Our field → the bank's heading."]
    date_order: str
    spending: str
    evidence: dict[str, list[str]]
    questions: list[dict[str, Any]]
    accounts: list[str]
    rows: int
    purchases: Annotated[int, "Rows that may be invested."]
    spent: Annotated[Decimal, "Dollars of these purchases."]
    set_aside: Annotated[Decimal, "Round-ups and fees of these purchases, in dollars."]
    complete: Annotated[bool, "False where only the first rows are added up."]
    money_out: Decimal
    money_in: Decimal
    first_day: date | None
    last_day: date | None
    not_booked: Annotated[dict[str, int], "Rows that will not be invested, by class or reason."]


class StatementPreviewOutput(TypedDict):
    """A dry run: nothing was stored."""

    success: bool
    data: StatementPreviewData


def statement_preview(
    file: "File[bytes]", *, filename: str, user: User, answers: dict[str, str], account: str
) -> StatementPreviewOutput:
    """Return the payload of a dry run. Raises ValidationError for a workbook, which only a worker reads."""
    content = cast("BinaryIO", file)
    if is_workbook(content):
        raise ValidationError({"dry_run": ["A workbook is read in the background. Send it without dry_run."]})
    found = preview_statement(content, filename=filename, user=user, answers=answers, account=account)
    summary = found.summary
    data = StatementPreviewData(
        columns=found.columns,
        date_order=found.date_order,
        spending=found.spending,
        evidence=found.evidence,
        questions=[asdict(question) for question in found.questions],
        accounts=summary.accounts,
        rows=summary.rows,
        purchases=summary.purchases,
        spent=summary.spent,
        set_aside=summary.set_aside,
        complete=summary.is_complete,
        money_out=summary.money_out,
        money_in=summary.money_in,
        first_day=summary.first_day,
        last_day=summary.last_day,
        not_booked=summary.not_booked,
    )
    return StatementPreviewOutput(success=True, data=data)
