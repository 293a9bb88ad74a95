"""The ledger as the old admin's Financial Analytics page reads it: accounts, and postings as sums.

The page adds up balances itself, from the rows of `financial/transactions`: those without `debit` and `credit` count
with their amount. These are the sums of the ledger. Entries of the journal are listed beside them with zeros, so that
nothing counts twice and every balance is that of the trial balance.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from analytics.selectors.finance import AccountMovement, LedgerSum, ledger_sums
from analytics.selectors.financial_statements import financial_statements
from analytics.selectors.periods import Period, utc_today
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from kamioi_site.api.legacy.names import renamed
from kamioi_site.api.pagination import PAGE_SIZE
from transactions.api.legacy.base import LegacyStaffView, NotOfferedError, staff_reply
from transactions.api.legacy.staff import LEDGER_SUM
from transactions.api.staff.journal import EntryRow, entry_row
from transactions.models import LedgerAccount
from transactions.rules.money import ZERO
from transactions.selectors.journal import journal_page

Type = LedgerAccount.Type
_NAMES: Final = ("Assets", "Liabilities", "Equity", "Revenue", "Expense")
_CATEGORIES: Final = dict(zip(Type, _NAMES, strict=True))
# The books are never closed. The page adds its net income to the account of this number, as our balance sheet does.
_RETAINED_EARNINGS: Final = AccountMovement("32000", "Retained earnings", Type.EQUITY, ZERO, ZERO, ZERO)


class AccountsView(LegacyStaffView):
    required_permissions = ("analytics.view_finance_dashboard",)

    def get(self, request: Request) -> Response:
        """Return the accounts of a category, or all, with the balances of the trial balance."""
        category = (request.query_params.get("category") or "all").lower()
        rows = [row for row in _cached_accounts() if category in {"all", row["category"].lower()}]
        return Response({"success": True, "data": rows})

    def post(self, request: Request) -> Response:
        raise NotOfferedError("Accounts are added in the admin, under Ledger accounts.")


@staff_reply("analytics.view_finance_dashboard", "transactions.view_ledgertransfer")
def postings(_: Request) -> dict[str, Any]:
    """Return the newest entries of the journal, and the sums of all postings."""
    names = {row["account_number"]: row["name"] for row in _cached_accounts()}
    entries = [_entry(entry_row(row), names) for *_, row in journal_page(after=None, limit=PAGE_SIZE)]
    sums = [_sum(row, number, names) for number, row in enumerate(ledger_sums(utc_today()), start=1)]
    return {"data": [*entries, *sums]}


def accounts() -> list[dict[str, Any]]:
    """Return the chart of accounts with the balances since the beginning."""
    movements = financial_statements(Period(date.min, utc_today())).accounts
    rows = {row.number: row for row in (_RETAINED_EARNINGS, *movements)}
    return [_account(rows[number]) for number in sorted(rows)]


def categories(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the categories with the number of their accounts."""
    numbers = {name: [row["account_number"] for row in rows if row["category"] == name] for name in _NAMES}
    return {
        "data": [
            {"id": name.lower(), "name": name, "range": f"{found[0]}-{found[-1]}" if found else "", "count": len(found)}
            for name, found in numbers.items()
        ]
    }


def _cached_accounts() -> list[dict[str, Any]]:
    return STAFF_STATS_CACHE.get(accounts, name="legacy-accounts")


def _account(account: AccountMovement) -> dict[str, Any]:
    fixed = account.type == Type.ASSET and account.number >= "15000"
    return renamed("account", account) | {
        **dict.fromkeys(("account_type", "type"), account.type.title()),
        "category": _CATEGORIES[Type(account.type)],
        "subcategory": f"{'Fixed' if fixed else 'Current'} {account.type}",
    }


def _entry(entry: EntryRow, names: Mapping[str, str]) -> dict[str, Any]:
    sides = _sides(entry["to_account"], entry["from_account"], names)
    description = entry["description"] or entry["id"]
    return renamed("listed entry", entry) | sides | {"description": description, "debit": 0, "credit": 0}


def _sum(row: LedgerSum, number: int, names: Mapping[str, str]) -> dict[str, Any]:
    return renamed("sum", row) | {
        "id": f"{LEDGER_SUM}-{number}",
        "journal_entry_id": LEDGER_SUM,
        "reference": f"{LEDGER_SUM} {row.until} {row.kind}",
        "description": f"Sum of {row.bookings:,} postings",
        "status": "posted",
        **_sides(row.debit_account, row.credit_account, names),
    }


def _sides(debit: str | None, credit: str | None, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "to_account": debit,
        "to_account_name": debit and f"{debit} {names.get(debit, '')}",
        "from_account": credit,
        "from_account_name": credit and f"{credit} {names.get(credit, '')}",
    }
