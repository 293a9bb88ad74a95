"""The company's journal for staff, and the verification of the ledger."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, NotRequired, TypedDict
from uuid import UUID

from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.pagination import CURSOR, LIMIT, page_limit
from kamioi_site.api.payloads import Data, ErrorOutput, MessageOutput, SuccessOutput
from kamioi_site.pagination import decode_cursor, encode_cursor
from transactions.api.base import QueuedMessageOutput, accepted, current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView
from transactions.api.staff.serializers import EntryInput
from transactions.errors import EntryAlreadyBookedError, SecondPersonRequiredError
from transactions.models import JournalDraft, JournalEntry
from transactions.rules.money import ZERO
from transactions.selectors import journal
from transactions.selectors.journal import JournalRow
from transactions.services.journal import Line, create_entry, delete_or_reverse_entry, update_entry
from transactions.services.ledger_verification import last_ledger_check, request_ledger_check

_TEXTS = ("reference", "description", "location", "department", "transaction_type", "vendor_name", "customer_name")
_SYSTEM_ENTRY = "Booked by the system; correct it at its source."


class LineRow(TypedDict):
    """A line of an entry, or a side of a transfer."""

    account_code: str
    debit: Decimal
    credit: Decimal
    description: str


class EntryRow(TypedDict):
    """An entry of the company's books: `JE-…` written by staff, `LT-…` booked by the system."""

    id: str
    date: date
    reference: str
    description: str
    location: str
    department: str
    transaction_type: str
    vendor_name: str
    customer_name: str
    amount: Decimal
    from_account: str | None
    to_account: str | None
    status: Annotated[str, JournalEntry.Status]
    created_at: datetime
    created_by: str | None
    lines: list[LineRow]


class JournalOutput(SuccessOutput):
    """A page of entries, latest day first. `entries` and `data` are the same."""

    entries: list[EntryRow]
    data: list[EntryRow]
    next_cursor: str | None
    has_more: bool


class EntryOutput(SuccessOutput):
    """One entry. `entry` and `data` are the same."""

    message: NotRequired[str]
    entry: EntryRow
    data: EntryRow


class EntryRemovedOutput(MessageOutput):
    """A draft is deleted; a posted entry is reversed and returned as `entry`."""

    reversed: bool
    entry: EntryRow | None


class Consistency(TypedDict):
    """The last completed verification, all null before the first. `status` is never, completed or failed."""

    status: str
    is_consistent: bool | None
    problems: int | None
    examples: list[str]
    checked_at: datetime | None
    seconds: float | None
    error: str
    task_id: UUID | None


class JournalView(StaffView):
    required_permissions = ("transactions.view_ledgertransfer",)
    write_permissions = ("transactions.add_journalentry",)

    @extend_schema(
        operation_id="admin_journal_entries_list",
        parameters=[CURSOR, LIMIT],
        responses={200: JournalOutput},
        tags=["journal"],
    )
    def get(self, request: Request) -> Response:
        """Return a page of entries written by staff and of bookings by the system, latest day first."""
        limit, cursor = page_limit(request), request.query_params.get("cursor")
        after = decode_cursor(cursor, "journal") if cursor else None
        keyed_rows = journal.journal_page(after=after, limit=limit + 1)
        page, has_more = keyed_rows[:limit], len(keyed_rows) > limit
        rows = [entry_row(row) for *_, row in page]
        body = JournalOutput(
            success=True,
            entries=rows,
            data=rows,
            next_cursor=encode_cursor(page[-1][:3], "journal") if has_more else None,
            has_more=has_more,
        )
        return Response(self.payload(body))

    @extend_schema(request=EntryInput, responses={201: EntryOutput, 409: ErrorOutput}, tags=["journal"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Create an entry, posted or as a draft. Above a limit it stays a draft, which another person posts."""
        data = self.entry_input(request)
        lines = _lines(data)
        if lines is None:
            raise ValidationError({"lines": ["Send lines, or from_account, to_account and amount."]})
        post = data.get("status", "posted") == "posted"
        fields = {name: data.get(name, "") for name in _TEXTS}
        fields["entry_date"] = data.get("date") or timezone.now().date()
        entry = create_entry(fields=fields, lines=lines, actor=current_user(request), post=post)
        if entry.status == JournalEntry.Status.POSTED:
            message = "Entry posted."
        else:
            message = f"Draft saved. {SecondPersonRequiredError()}" if post else "Draft saved."
        return _response(entry, message, status.HTTP_201_CREATED)

    def payload(self, page: JournalOutput) -> Mapping[str, Any]:
        return page

    def entry_input(self, request: Request) -> dict[str, Any]:
        return validated(EntryInput(data=request.data))


class JournalEntryView(StaffView):
    required_permissions = ("transactions.view_ledgertransfer",)
    write_permissions = ("transactions.add_journalentry",)

    @extend_schema(responses={200: EntryOutput}, tags=["journal"])
    def get(self, request: Request, number: str) -> Response:
        """Return the entry with this number."""
        row = entry_row(_journal_row(number))
        return Response({"success": True, "entry": row, "data": row})

    @extend_schema(
        request=EntryInput, responses={200: EntryOutput, 403: ErrorOutput, 409: ErrorOutput}, tags=["journal"]
    )
    def put(self, request: Request, number: str) -> Response:
        """Change a draft; `status: posted` posts it, above a limit only for someone who did not write it (403).

        A posted entry is 409: reverse it with DELETE.
        """
        entry = _staff_entry(number)
        data = validated(EntryInput(data=request.data))
        fields = {name: data[name] for name in _TEXTS if name in data}
        if "date" in data:
            fields["entry_date"] = data["date"]
        post = data.get("status") == "posted"
        entry = update_entry(
            entry_id=entry.pk, fields=fields, lines=_lines(data), actor=current_user(request), post=post
        )
        return _response(entry, "Entry posted." if post else "Draft updated.")

    @extend_schema(responses={200: EntryRemovedOutput, 403: ErrorOutput, 409: ErrorOutput}, tags=["journal"])
    def delete(self, request: Request, number: str) -> Response:
        """Delete a draft. A posted entry stays and is reversed by contra postings dated today.

        Above a limit, someone else than the one who posted it must reverse it (403).
        """
        entry = delete_or_reverse_entry(entry_id=_staff_entry(number).pk, actor=current_user(request))
        body = EntryRemovedOutput(
            success=True,
            message="Draft deleted." if entry is None else "Entry reversed.",
            reversed=entry is not None,
            entry=None if entry is None else entry_row(_row_of(entry)),
        )
        return Response(body)


class ConsistencyView(StaffView):
    required_permissions = ("transactions.view_ledgertransfer",)

    @extend_schema(responses={200: Data[Consistency]}, tags=["journal"])
    def get(self, request: Request) -> Response:
        """Return the last completed verification, which runs every night and never in a request."""
        task = last_ledger_check()
        result = task.result if task else {}
        data = Consistency(
            status=task.status if task else "never",
            is_consistent=result.get("is_consistent"),
            problems=result.get("problems"),
            examples=result.get("examples", []),
            checked_at=task.finished_at if task else None,
            seconds=result.get("seconds"),
            error=task.error if task else "",
            task_id=task.pk if task else None,
        )
        return Response({"success": True, "data": data})

    @extend_schema(request=None, responses={202: QueuedMessageOutput}, tags=["journal"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Verify the ledger in the background; a running verification is returned instead of a second one."""
        return accepted(request_ledger_check(actor=current_user(request)), message="The ledger is being verified.")


def _journal_row(number: str) -> JournalRow:
    row = journal.journal_entry(number)
    if row is None:
        raise Http404
    return row


def _staff_entry(number: str) -> JournalDraft | JournalEntry:
    """Return an entry that staff may change."""
    entry = _journal_row(number).entry
    if entry is None:
        raise EntryAlreadyBookedError(_SYSTEM_ENTRY)
    return entry


def _lines(data: Mapping[str, Any]) -> list[Line] | None:
    """Return the lines in either format, None without any. Raises ValidationError for an incomplete format."""
    if "lines" in data:
        return [
            Line(line["account_code"], line["debit"], line["credit"], line["description"]) for line in data["lines"]
        ]
    given = [name for name in ("from_account", "to_account", "amount") if name in data]
    if not given:
        return None
    if len(given) < 3:
        raise ValidationError({"lines": ["Send from_account, to_account and amount together."]})
    return [Line(data["to_account"], data["amount"], ZERO), Line(data["from_account"], ZERO, data["amount"])]


def _row_of(entry: JournalDraft | JournalEntry) -> JournalRow:
    return JournalRow(entry.number, entry.entry_date, entry.created_at, entry)


def entry_row(row: JournalRow) -> EntryRow:
    entry, transfer = row.entry, row.transfer
    if entry is not None:
        lines = [
            LineRow(
                account_code=line["account_code"],
                debit=Decimal(line["debit"]),
                credit=Decimal(line["credit"]),
                description=line["description"],
            )
            for line in entry.lines
        ]
        debits, credits_ = [line for line in lines if line["debit"]], [line for line in lines if line["credit"]]
        simple = len(debits) == len(credits_) == 1
        return EntryRow(
            id=row.number,
            date=entry.entry_date,
            reference=entry.reference,
            description=entry.description,
            location=entry.location,
            department=entry.department,
            transaction_type=entry.transaction_type,
            vendor_name=entry.vendor_name,
            customer_name=entry.customer_name,
            amount=entry.amount,
            from_account=credits_[0]["account_code"] if simple else None,
            to_account=debits[0]["account_code"] if simple else None,
            status=entry.status,
            created_at=entry.created_at,
            created_by=entry.created_by.email,
            lines=lines,
        )
    assert transfer is not None  # noqa: S101  # a row is one of the two
    sides = [(transfer.debit_account, transfer.amount, ZERO), (transfer.credit_account, ZERO, transfer.amount)]
    return EntryRow(
        id=row.number,
        date=row.entry_date,
        reference=transfer.reference,
        description="",
        location="",
        department="",
        transaction_type=transfer.kind,
        vendor_name="",
        customer_name="",
        amount=transfer.amount,
        from_account=transfer.credit_account,
        to_account=transfer.debit_account,
        status=JournalEntry.Status.POSTED,
        created_at=transfer.created_at,
        created_by=None,
        lines=[
            LineRow(account_code=account, debit=debit, credit=credit, description="")
            for account, debit, credit in sides
        ],
    )


def _response(entry: JournalDraft | JournalEntry, message: str, code: int = status.HTTP_200_OK) -> Response:
    row = entry_row(_row_of(entry))
    return Response({"success": True, "message": message, "entry": row, "data": row}, status=code)
