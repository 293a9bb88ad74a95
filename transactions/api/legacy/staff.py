"""What only the old admin calls: the journal as its dialog sends it, staff, settings, and what is not done here."""

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.legacy.views import NAMES, NotOfferedError, with_our_names
from kamioi_site.api.throttling import hourly_limit
from transactions.api.base import accepted, current_user, validated
from transactions.api.legacy.base import LegacyStaffView, staff_reply
from transactions.api.legacy.forms import body
from transactions.api.staff.journal import JournalEntryView, JournalOutput, JournalView
from transactions.api.staff.serializers import EntryInput, OneTransactionInput
from transactions.errors import EntryAlreadyBookedError
from transactions.models import User
from transactions.selectors.staff import staff_members
from transactions.services.manual_processing import process_one

# The number of the rows of `admin/financial/transactions` that are sums of postings.
LEDGER_SUM: Final = "SUM"


# --- The journal ------------------------------------------------------------------------------------------------------
class LegacyJournalView(JournalView):
    """Accepts an entry with the keys of the old admin's dialog too, and lists entries under its name for them."""

    def payload(self, page: JournalOutput) -> Mapping[str, Any]:
        return page | {"journal_entries": page["entries"]}

    def entry_input(self, request: Request) -> dict[str, Any]:
        data = with_our_names("journal entry", body(request))
        if isinstance(lines := data.get("entries"), list):
            data["lines"] = [
                line | {"account_code": line.get("account")} if isinstance(line, dict) else line for line in lines
            ]
        return validated(EntryInput(data=data))


class LegacyJournalEntryView(JournalEntryView):
    """Explains why a sum of postings, which the old admin lists like an entry, cannot be changed."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if kwargs["number"] == LEDGER_SUM:
            raise EntryAlreadyBookedError("This row is the sum of many postings. It cannot be changed or deleted.")


# --- Investments ------------------------------------------------------------------------------------------------------
@staff_reply("transactions.change_backgroundtask", method="post")
def process_single(request: Request) -> Response:
    """Process a transaction whose merchant is known; 409 with the reason if there is nothing to buy."""
    transaction_id = validated(OneTransactionInput(data=request.data))["transaction_id"]
    task = process_one(transaction_id=transaction_id, actor=current_user(request))
    return accepted(task, message="The transaction is being processed.")


# --- Staff ------------------------------------------------------------------------------------------------------------
@staff_reply(
    "transactions.view_user", refused="Accounts of staff are created and changed in the admin, under Users and Groups."
)
def employees(_: Request) -> dict[str, Any]:
    """Return the accounts of staff."""
    return {"employees": [_employee(*member) for member in staff_members()]}


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
        return Response({"success": True, "settings": self.held})

    def put(self, request: Request) -> Response:
        """Refuse a change; the form sends all values when it is saved unchanged."""
        if request.data != self.held:
            sentence = "These values belong to the installation. Settings are changed in the admin, under Settings."
            raise NotOfferedError(sentence)
        return Response({"success": True, "message": "Nothing changed."})


SYSTEM: Final = {
    "maintenanceMode": False,
    "registrationEnabled": True,
    "apiRateLimit": hourly_limit("authenticated"),
    "maxUsers": 2**53 - 1,  # there is no limit, and the page turns an empty field into 10,000
    "version": settings.SPECTACULAR_SETTINGS["VERSION"],
    **dict.fromkeys(("securityLevel", "backupFrequency")),
}
BUSINESS: Final = {
    "companyName": "Kamioi",
    "website": settings.SITE_URL,
    **dict.fromkeys(("supportEmail", "address", "phone", "description"), ""),
}
