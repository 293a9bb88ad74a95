"""What only the old admin calls: the journal as its dialog sends it, staff, settings, and what is not done here."""

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.http import Http404
from django_ratelimit.core import _split_rate
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import MoneyField
from kamioi_site.api.legacy.names import NAMES
from transactions.api.base import accepted, current_user, validated
from transactions.api.legacy.base import LegacyStaffView, NotOfferedError
from transactions.api.staff.journal import JournalEntryView, JournalOutput, JournalView
from transactions.api.staff.serializers import EntryInput, OneTransactionInput
from transactions.errors import EntryAlreadyBookedError, NothingToRetryError
from transactions.models import User
from transactions.rules.money import ZERO
from transactions.selectors.staff import staff_members
from transactions.services.manual_processing import process_selection

# The number of the rows of `admin/financial/transactions` that are sums of postings.
LEDGER_SUM: Final = "SUM"


# --- The journal ------------------------------------------------------------------------------------------------------
class LegacyEntryInput(EntryInput):
    """An entry, with the totals of its lines as the dialog has computed them."""

    total_debit = MoneyField(zero=True, required=False)
    total_credit = MoneyField(zero=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse totals that are not those of the lines."""
        for side in ("debit", "credit"):
            total = sum((line[side] for line in attrs.get("lines", [])), ZERO)
            if attrs.pop(f"total_{side}", total) != total:
                raise ValidationError({f"total_{side}": [f"It is not the sum of the lines, ${total:,}."]})
        return attrs


class LegacyJournalView(JournalView):
    """Accepts an entry with the keys of the old admin's dialog too, and lists entries under its name for them."""

    def payload(self, body: JournalOutput) -> Mapping[str, Any]:
        return body | {"journal_entries": body["entries"]}

    def entry_input(self, request: Request) -> dict[str, Any]:
        if not isinstance(request.data, Mapping):
            return super().entry_input(request)
        data = {NAMES["journal entry"].get(name, name): value for name, value in request.data.items()}
        if isinstance(lines := data.get("entries"), list):
            data["lines"] = [
                line | {"account_code": line.get("account")} if isinstance(line, dict) else line for line in lines
            ]
        return validated(LegacyEntryInput(data=data))


class LegacyJournalEntryView(JournalEntryView):
    """Explains why a sum of postings, which the old admin lists like an entry, cannot be changed."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if kwargs["number"] == LEDGER_SUM:
            raise EntryAlreadyBookedError("This row is the sum of many postings. It cannot be changed or deleted.")


# --- Investments ------------------------------------------------------------------------------------------------------
class ProcessSingleView(LegacyStaffView):
    required_permissions = ("transactions.change_backgroundtask",)

    def post(self, request: Request) -> Response:
        """Process a transaction whose merchant is known; 409 with the reason if there is nothing to buy."""
        transaction_id = validated(OneTransactionInput(data=request.data))["transaction_id"]
        result = process_selection(transaction_ids=[transaction_id], force=False, actor=current_user(request))
        if result.count("not_found"):
            raise Http404
        if result.task is None:
            raise NothingToRetryError(" ".join(result.warnings) or result.statuses[0].reason)
        return accepted(result.task, message="The transaction is being processed.")


# --- Staff ------------------------------------------------------------------------------------------------------------
class EmployeesView(LegacyStaffView):
    required_permissions = ("transactions.view_user",)

    def get(self, request: Request) -> Response:
        """Return the accounts of staff; they are changed in the admin."""
        return Response({"success": True, "employees": [_employee(*member) for member in staff_members()]})

    def post(self, request: Request) -> Response:
        raise NotOfferedError("Accounts of staff are created and changed in the admin, under Users and Groups.")


def _employee(user: User, permissions: frozenset[str]) -> dict[str, Any]:
    groups = ", ".join(group.name for group in user.groups.all()) or "staff"
    allowed = {shown: user.is_superuser or name in permissions for shown, name in NAMES["permissions"].items()}
    return {name: getattr(user, name) for name in ("id", "name", "email", "created_at", "is_active")} | {
        "role": "superadmin" if user.is_superuser else groups,
        "permissions": allowed | {"can_manage_advertisements": False},
    }


# --- Settings ---------------------------------------------------------------------------------------------------------
class SettingsView(LegacyStaffView):
    """A form of the old admin whose values hold, but belong to the installation."""

    required_permissions = ("transactions.view_setting",)
    write_permissions = ("transactions.change_setting",)
    held: Mapping[str, Any] = {}

    def get(self, request: Request) -> Response:
        """Return what holds."""
        return Response({"success": True, "settings": self.held})

    def put(self, request: Request) -> Response:
        """Refuse a change; the form sends all values when it is saved unchanged."""
        if request.data != self.held:
            sentence = "These values belong to the installation. Settings are changed in the admin, under Settings."
            raise NotOfferedError(sentence)
        return Response({"success": True, "message": "Nothing changed."})


_RATES: Final = [_split_rate(rate) for rate in settings.API_RATES["authenticated"]]
SYSTEM: Final = {
    "maintenanceMode": False,
    "registrationEnabled": True,
    "apiRateLimit": min((count * 3600 // seconds for count, seconds in _RATES), default=None),
    "maxUsers": 2**53 - 1,  # there is no limit, and the page turns an empty field into 10,000
    "version": settings.SPECTACULAR_SETTINGS["VERSION"],
    **dict.fromkeys(("securityLevel", "backupFrequency")),
}
BUSINESS: Final = {
    "companyName": "Kamioi",
    "website": settings.SITE_URL,
    **dict.fromkeys(("supportEmail", "address", "phone", "description"), ""),
}
