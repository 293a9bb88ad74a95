"""The API for staff that needs nothing but this room: chosen transactions, settings, people, the journal."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from django.core import signing
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.views import keyset_page, page_limit
from transactions.api import staff_serializers as shapes
from transactions.api.base import accepted, current_user, validated
from transactions.api.staff import BODY_ERRORS, StaffView, errors
from transactions.errors import EntryAlreadyBookedError
from transactions.models import JournalEntry, Setting, User
from transactions.rules.money import ZERO
from transactions.selectors import journal
from transactions.selectors import staff as selectors
from transactions.services.journal import Line, create_entry, delete_or_reverse_entry, update_entry
from transactions.services.ledger_verification import last_ledger_check, request_ledger_check
from transactions.services.manual_processing import SelectionResult, limits, process_selection
from transactions.services.settings import save_settings
from transactions.services.user_admin import remove_user, update_user

PAGE = OpenApiParameter("page", OpenApiTypes.INT, description="From 1, to row 10,000.")
LIMIT = OpenApiParameter("limit", OpenApiTypes.INT, description="Rows of a page, 1 to 500; 100 when absent.")
CURSOR = OpenApiParameter("cursor", OpenApiTypes.STR, description="`next_cursor` of the page before.")


def page_number(request: Request, limit: int) -> int:
    """`?page=`, 1 when absent. Raises ValidationError for one past row 10,000."""
    text = request.query_params.get("page") or "1"
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if number < 1 or number * limit > selectors.WINDOW:
        raise ValidationError({"page": [f"Pages go from 1 to row {selectors.WINDOW:,}."]})
    return number


def pagination(found: selectors.Found, *, page: int, limit: int) -> dict[str, Any]:
    """Where the page lies."""
    pages = max(1, -(-found.total // limit))
    return {
        "page": page,
        "limit": limit,
        "total": found.total,
        "total_pages": pages,
        "totalPages": pages,
        "has_next": page < pages,
        "has_prev": page > 1,
        "total_is_capped": found.capped,
    }


def dollars(request: Request, name: str) -> Decimal | None:
    """An amount of the query; None when absent. Raises ValidationError."""
    text = (request.query_params.get(name) or "").strip()
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and abs(amount) < 10**12):
        raise ValidationError({name: ["An amount of dollars is needed."]})
    return amount


# --- Transactions -----------------------------------------------------------------------------------------------
class WaitingView(StaffView):
    """Transactions that wait."""

    needs = ("transactions.view_transaction",)

    @extend_schema(
        parameters=[
            PAGE,
            LIMIT,
            OpenApiParameter("merchant", OpenApiTypes.STR, description="A name, or a part of one."),
            OpenApiParameter("category", OpenApiTypes.STR),
            OpenApiParameter("min_amount", OpenApiTypes.DECIMAL),
            OpenApiParameter("max_amount", OpenApiTypes.DECIMAL),
        ],
        responses={200: shapes.WaitingOutput} | errors(400),
        tags=["llm center"],
    )
    def get(self, request: Request) -> Response:
        """Not processed yet, or waiting for a decision on the merchant. Of very many, ten thousand of each are looked at."""
        limit = page_limit(request)
        page = page_number(request, limit)
        chosen = selectors.StaffTransactionFilter(
            search=(request.query_params.get("merchant") or "").strip(),
            category=(request.query_params.get("category") or "").strip(),
            min_amount=dollars(request, "min_amount"),
            max_amount=dollars(request, "max_amount"),
        )
        found = selectors.transactions_waiting_page(chosen, page=page, limit=limit)
        return Response(
            {
                "success": True,
                "transactions": [_waiting_row(row) for row in found.rows],
                "pagination": pagination(found, page=page, limit=limit),
                "trading_limits": _limits(),
            }
        )


def _waiting_row(row: Mapping[str, Any]) -> dict[str, Any]:
    same = (
        "id",
        "merchant",
        "amount",
        "category",
        "status",
        "created_at",
        "user_id",
        "description",
        "round_up",
        "ticker",
    )
    return {name: row[name] for name in same} | {"user_email": row["email"], "user_name": row["name"]}


def _limits() -> dict[str, Any]:
    found = limits()
    return {"max_orders": found.max_orders, "max_amount": found.max_amount}


class ProcessSelectedView(StaffView):
    """Process chosen transactions now."""

    needs = ("transactions.change_backgroundtask",)

    @extend_schema(
        request=shapes.SelectedInput,
        responses={202: shapes.SelectedOutput, 200: shapes.SelectedOutput}
        | errors(*BODY_ERRORS)
        | {400: shapes.SelectedRefused},
        tags=["llm center"],
    )
    def post(self, request: Request) -> Response:
        """What the directory knows goes on its way (202, with a task); 200 where nothing does. Over a limit: 400, and nothing goes."""
        data = validated(shapes.SelectedInput(data=request.data))
        done = process_selection(
            transaction_ids=data["transaction_ids"], force=data["force"], actor=current_user(request)
        )
        return _selected_answer(done)


class ProcessTransactionView(StaffView):
    """Process one transaction now."""

    needs = ("transactions.change_backgroundtask",)

    @extend_schema(
        request=shapes.OneTransactionInput,
        responses={202: shapes.SelectedOutput, 200: shapes.SelectedOutput}
        | errors(*BODY_ERRORS, 404)
        | {400: shapes.SelectedRefused},
        tags=["llm center"],
    )
    def post(self, request: Request) -> Response:
        """As several; an unknown one is 404."""
        number = validated(shapes.OneTransactionInput(data=request.data))["transaction_id"]
        done = process_selection(transaction_ids=[number], force=False, actor=current_user(request))
        if done.count("not_found"):
            raise Http404
        return _selected_answer(done)


def _selected_answer(done: SelectionResult) -> Response:
    mapped = done.count("mapped")
    if done.exceeded:
        body = {
            "success": False,
            "error": " ".join(done.warnings),
            "limit_exceeded": True,
            "warnings": done.warnings,
            "limits": {"max_orders": done.limits.max_orders, "max_amount": done.limits.max_amount},
            "requested_amount": done.amount,
            "requested_orders": mapped,
        }
        return Response(body, status=status.HTTP_400_BAD_REQUEST)
    body = {
        "success": True,
        "message": f"{mapped} of {len(done.looks)} transactions are on their way.",
        "processed": len(done.looks),
        "mapped": mapped,
        "no_match": done.count("no_match"),
        "results": [
            {
                "transaction_id": look.transaction_id,
                "merchant": look.merchant,
                "ticker": look.ticker,
                "status": look.outcome,
                "reason": look.reason,
            }
            for look in done.looks
        ],
        "amount_processed": done.amount,
        "warnings": done.warnings,
        "task_id": done.task.pk if done.task else None,
    }
    return Response(body, status=status.HTTP_202_ACCEPTED if done.task else status.HTTP_200_OK)


# --- Settings ---------------------------------------------------------------------------------------------------
class SettingsView(StaffView):
    """What staff set while the system runs."""

    needs = ("transactions.view_setting",)
    needs_to_write = ("transactions.change_setting",)

    @extend_schema(responses={200: shapes.StaffSettingsOutput} | errors(), tags=["settings"])
    def get(self, request: Request) -> Response:
        """Every setting."""
        return Response({"success": True, "data": self._all()})

    @extend_schema(
        request=OpenApiTypes.OBJECT,
        responses={200: shapes.SettingsSavedOutput} | errors(*BODY_ERRORS),
        tags=["settings"],
    )
    def post(self, request: Request) -> Response:
        """`{key: value, …}`, `{key, value}` or `{settings: {…} or [{key, value}, …]}`. All or none; type and description stay."""
        values = _setting_values(request.data)
        save_settings(values=values, actor=current_user(request))
        message = f"{len(values)} setting{'' if len(values) == 1 else 's'} saved."
        return Response({"success": True, "message": message, "data": self._all()})

    @staticmethod
    def _all() -> list[dict[str, Any]]:
        return [dict(row) for row in Setting.objects.values("key", "value", "type", "description")]


def _setting_values(body: Any) -> dict[str, str]:
    """The settings of a body in any of its shapes. Raises ValidationError."""
    found = body.get("settings", body) if isinstance(body, Mapping) else body
    if isinstance(found, Mapping) and set(found) <= {"key", "value", "type", "description"} and "key" in found:
        found = [found]
    if isinstance(found, list) and all(isinstance(one, Mapping) and {"key", "value"} <= set(one) for one in found):
        found = {str(one["key"]): one["value"] for one in found}
    if not isinstance(found, Mapping) or not 0 < len(found) <= 100:
        raise ValidationError({"settings": ["Send {key: value}, or {settings: [{key, value}]}."]})
    values = {}
    for key, value in found.items():
        if not isinstance(value, (str, int, float)) or len(str(value)) > 1000:
            raise ValidationError({str(key): ["A text, a number, true or false is needed."]})
        values[str(key)] = str(value).lower() if isinstance(value, bool) else str(value)
    return values


# --- People -----------------------------------------------------------------------------------------------------
class PeopleView(StaffView):
    """People."""

    needs = ("transactions.view_user",)

    @extend_schema(
        operation_id="admin_users_list",
        parameters=[
            CURSOR,
            LIMIT,
            OpenApiParameter("search", OpenApiTypes.STR, description="A whole e-mail, an account number, or an id."),
            OpenApiParameter("account_type", OpenApiTypes.STR, enum=[kind.value for kind in User.AccountType]),
        ],
        responses={200: shapes.PeopleOutput} | errors(400),
        tags=["people"],
    )
    def get(self, request: Request) -> Response:
        """Newest first, by cursor."""
        kind = request.query_params.get("account_type") or ""
        if kind and kind not in User.AccountType.values:
            raise ValidationError({"account_type": [f"One of {', '.join(User.AccountType.values)} is needed."]})
        search = (request.query_params.get("search") or "").strip()
        page = keyset_page(
            selectors.people(search=search, account_type=kind),
            time_field="created_at",
            cursor=request.query_params.get("cursor"),
            limit=page_limit(request),
            scope=f"people:{kind}:{search}",
        )
        rows = [_person(person) for person in page.rows]
        return Response(
            {"success": True, "users": rows, "data": rows, "next_cursor": page.next_cursor, "has_more": page.has_more}
        )


class PersonView(StaffView):
    """One person."""

    needs = ("transactions.view_user",)
    needs_to_write = ("transactions.change_user",)

    def needed(self, method: str | None) -> tuple[str, ...]:
        """Closing an account takes another permission than changing one."""
        return ("transactions.delete_user",) if method == "DELETE" else super().needed(method)

    @extend_schema(responses={200: shapes.PersonDetailOutput} | errors(404), tags=["people"])
    def get(self, request: Request, user_id: int) -> Response:
        """Who it is."""
        person = User.objects.filter(pk=user_id).first()
        if person is None:
            raise Http404
        return _person_answer(person)

    @extend_schema(
        request=shapes.PersonInput,
        responses={200: shapes.PersonDetailOutput} | errors(*BODY_ERRORS, 404),
        tags=["people"],
    )
    def put(self, request: Request, user_id: int) -> Response:
        """Change some of it. Accounts of staff are changed by superusers alone; closing one ends its tokens."""
        return _person_answer(_changed(request, user_id, validated(shapes.PersonInput(data=request.data))))

    @extend_schema(responses={200: shapes.PersonRemovedOutput} | errors(404), tags=["people"])
    def delete(self, request: Request, user_id: int) -> Response:
        """Deleted where nothing was ever booked for the person; else the account is closed and the books stay."""
        try:
            deleted = remove_user(user_id=user_id, actor=current_user(request))
        except User.DoesNotExist as error:
            raise Http404 from error
        message = "The person is deleted." if deleted else "The account is closed; its books stay."
        return Response({"success": True, "message": message, "deleted": deleted})


class PersonStatusView(StaffView):
    """Open or close an account."""

    needs = ("transactions.change_user",)

    @extend_schema(
        request=shapes.PersonStatusInput,
        responses={200: shapes.PersonDetailOutput} | errors(*BODY_ERRORS, 404),
        tags=["people"],
    )
    def put(self, request: Request, user_id: int) -> Response:
        """`active` or `inactive` (`suspended` is the same)."""
        return _person_answer(_changed(request, user_id, validated(shapes.PersonStatusInput(data=request.data))))


def _changed(request: Request, user_id: int, changes: dict[str, Any]) -> User:
    try:
        return update_user(user_id=user_id, changes=changes, actor=current_user(request))
    except User.DoesNotExist as error:
        raise Http404 from error
    except DjangoValidationError as error:
        raise ValidationError(error.message_dict) from error


def _person(person: User) -> dict[str, Any]:
    return dict(shapes.StaffPersonOutput(person).data)


def _person_answer(person: User) -> Response:
    row = _person(person)
    return Response({"success": True, "user": row, "data": row})


# --- The journal ------------------------------------------------------------------------------------------------
_ENTRY_FIELDS: tuple[str, ...] = (
    "reference",
    "description",
    "location",
    "department",
    "transaction_type",
    "vendor_name",
    "customer_name",
)
_CURSOR_SALT = "cursor:journal"


class JournalView(StaffView):
    """The company's books."""

    needs = ("transactions.view_ledgertransfer",)
    needs_to_write: ClassVar[tuple[str, ...] | None] = ("transactions.add_journalentry",)

    @extend_schema(
        operation_id="admin_journal_entries_list",
        parameters=[CURSOR, LIMIT],
        responses={200: shapes.JournalOutput} | errors(400),
        tags=["journal"],
    )
    def get(self, request: Request) -> Response:
        """Newest day first, by cursor: entries that people wrote, and what the system booked for the company."""
        limit = page_limit(request)
        found = journal.journal_page(after=_cursor_read(request.query_params.get("cursor")), limit=limit + 1)
        page, more = found[:limit], len(found) > limit
        rows = [_entry(row) for *_, row in page]
        cursor = _cursor_write(*page[-1][:3]) if more else None
        return Response({"success": True, "entries": rows, "data": rows, "next_cursor": cursor, "has_more": more})

    @extend_schema(
        request=shapes.EntryInput, responses={201: shapes.EntryDetailOutput} | errors(*BODY_ERRORS), tags=["journal"]
    )
    def post(self, request: Request) -> Response:
        """Write an entry: booked at once, or kept as a draft."""
        data = validated(shapes.EntryInput(data=request.data))
        lines = _lines(data)
        if lines is None:
            raise ValidationError({"lines": ["Give lines, or from_account, to_account and amount."]})
        post = data.get("status", "posted") == "posted"
        fields = {name: data.get(name, "") for name in _ENTRY_FIELDS}
        fields["entry_date"] = data.get("date") or timezone.now().date()
        entry = create_entry(fields=fields, lines=lines, actor=current_user(request), post=post)
        return _entry_answer(entry, "The entry is booked." if post else "The draft is kept.", status.HTTP_201_CREATED)


class JournalEntryView(StaffView):
    """One entry."""

    needs = ("transactions.view_ledgertransfer",)
    needs_to_write: ClassVar[tuple[str, ...] | None] = ("transactions.add_journalentry",)

    @extend_schema(responses={200: shapes.EntryDetailOutput} | errors(404), tags=["journal"])
    def get(self, request: Request, number: str) -> Response:
        """By its number."""
        row = _found(number)
        body = _entry(row)
        return Response({"success": True, "entry": body, "data": body})

    @extend_schema(
        request=shapes.EntryInput,
        responses={200: shapes.EntryDetailOutput} | errors(*BODY_ERRORS, 404, 409),
        tags=["journal"],
    )
    def put(self, request: Request, number: str) -> Response:
        """Change a draft; `status: posted` books it. What is booked never changes: 409, reverse it by DELETE."""
        row = _found(number)
        data = validated(shapes.EntryInput(data=request.data))
        if row.entry is None:
            raise EntryAlreadyBookedError("The system booked this; it is corrected where it came from.")
        fields = {name: data[name] for name in _ENTRY_FIELDS if name in data}
        if "date" in data:
            fields["entry_date"] = data["date"]
        post = data.get("status") == "posted"
        entry = update_entry(entry_id=row.entry.pk, fields=fields, lines=_lines(data), post=post)
        return _entry_answer(entry, "The entry is booked." if post else "The draft is changed.")

    @extend_schema(responses={200: shapes.EntryRemovedOutput} | errors(404, 409), tags=["journal"])
    def delete(self, request: Request, number: str) -> Response:
        """A draft is thrown away. A posted entry stays and is reversed by contra entries under today's date."""
        row = _found(number)
        if row.entry is None:
            raise EntryAlreadyBookedError("The system booked this; it is corrected where it came from.")
        entry = delete_or_reverse_entry(entry_id=row.entry.pk, actor=current_user(request))
        message = "The draft is gone." if entry is None else "The entry is reversed."
        body = (
            None
            if entry is None
            else _entry(journal.JournalRow(entry.number, entry.entry_date, entry.created_at, entry))
        )
        return Response({"success": True, "message": message, "reversed": entry is not None, "entry": body})


def _found(number: str) -> journal.JournalRow:
    row = journal.journal_entry(number)
    if row is None:
        raise Http404
    return row


def _lines(data: Mapping[str, Any]) -> list[Line] | None:
    """The lines that were sent, in either shape; None when none were. Raises ValidationError for half of a shape."""
    if "lines" in data:
        return [Line(one["account_code"], one["debit"], one["credit"], one["description"]) for one in data["lines"]]
    short = [name for name in ("from_account", "to_account", "amount") if name in data]
    if not short:
        return None
    if len(short) < 3:
        raise ValidationError({"lines": ["Give from_account, to_account and amount together."]})
    return [Line(data["to_account"], data["amount"], ZERO), Line(data["from_account"], ZERO, data["amount"])]


def _entry(row: journal.JournalRow) -> dict[str, Any]:
    entry, transfer = row.entry, row.transfer
    if entry is not None:
        lines = [one | {"debit": Decimal(one["debit"]), "credit": Decimal(one["credit"])} for one in entry.lines]
        debits, credits_ = ([one for one in lines if one[side]] for side in ("debit", "credit"))
        simple = len(debits) == len(credits_) == 1
        return {name: getattr(entry, name) for name in _ENTRY_FIELDS} | {
            "id": row.number,
            "date": entry.entry_date,
            "amount": entry.amount,
            "from_account": credits_[0]["account_code"] if simple else None,
            "to_account": debits[0]["account_code"] if simple else None,
            "status": entry.status,
            "created_at": entry.created_at,
            "created_by": entry.created_by.email,
            "lines": lines,
        }
    assert transfer is not None  # noqa: S101  # a row is one of the two
    sides = [(transfer.debit_account, transfer.amount, ZERO), (transfer.credit_account, ZERO, transfer.amount)]
    return dict.fromkeys(_ENTRY_FIELDS, "") | {
        "id": row.number,
        "date": row.entry_date,
        "reference": transfer.reference,
        "transaction_type": transfer.kind,
        "amount": transfer.amount,
        "from_account": transfer.credit_account,
        "to_account": transfer.debit_account,
        "status": JournalEntry.Status.POSTED,
        "created_at": transfer.created_at,
        "created_by": None,
        "lines": [
            {"account_code": account, "debit": debit, "credit": credit, "description": ""}
            for account, debit, credit in sides
        ],
    }


def _entry_answer(entry: JournalEntry, message: str, code: int = status.HTTP_200_OK) -> Response:
    body = _entry(journal.JournalRow(entry.number, entry.entry_date, entry.created_at, entry))
    return Response({"success": True, "message": message, "entry": body, "data": body}, status=code)


def _cursor_write(day: Any, rank: int, pk: int) -> str:
    return signing.Signer(salt=_CURSOR_SALT).sign_object([day.isoformat(), rank, pk])


def _cursor_read(cursor: str | None) -> tuple[str, int, int] | None:
    if not cursor:
        return None
    try:
        day, rank, pk = signing.Signer(salt=_CURSOR_SALT).unsign_object(cursor)
    except (signing.BadSignature, ValueError) as error:
        raise ValidationError({"cursor": ["This cursor is not one of this list."]}) from error
    return day, rank, pk


class ConsistencyView(StaffView):
    """Whether the books are right."""

    needs = ("transactions.view_ledgertransfer",)

    @extend_schema(responses={200: shapes.ConsistencyOutput} | errors(), tags=["journal"])
    def get(self, request: Request) -> Response:
        """The last check that ended (one runs every night). Checking reads the whole ledger, so it never happens in a request."""
        task = last_ledger_check()
        result = task.result if task else {}
        data = {
            "status": task.status if task else "never",
            "is_consistent": result.get("is_consistent"),
            "problems": result.get("problems"),
            "examples": result.get("examples", []),
            "checked_at": task.finished_at if task else None,
            "seconds": result.get("seconds"),
            "error": task.error if task else "",
            "task_id": task.pk if task else None,
        }
        return Response({"success": True, "data": data})

    @extend_schema(request=None, responses={202: shapes.StaffQueuedOutput} | errors(), tags=["journal"])
    def post(self, request: Request) -> Response:
        """Check now, in the background; a check under way is the one."""
        return accepted(request_ledger_check(actor=current_user(request)), message="The books are being checked.")
