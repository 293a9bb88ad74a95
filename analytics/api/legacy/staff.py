"""What only the old admin calls: its first page, customers, investments, the LLM Center, and the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, Final

from rest_framework.request import Request

from analytics.api.views.llm_center import DashboardView
from analytics.api.views.maintenance import ProcessBacklogView
from analytics.selectors import customers, holdings
from analytics.selectors.finance import SECTIONS, AccountMovement, LedgerSum, ledger_sums
from analytics.selectors.financial_statements import financial_statements
from analytics.selectors.llm_center import mapping_totals
from analytics.selectors.llm_center_api import LlmDashboard
from analytics.selectors.overview import platform_overview
from analytics.selectors.periods import Period, utc_today
from analytics.selectors.review_stats import CUSTOMERS_CACHE, STAFF_STATS_CACHE
from analytics.selectors.transactions import transaction_totals
from kamioi_site.api.legacy.views import renamed
from kamioi_site.api.pagination import PAGE_SIZE
from kamioi_site.formatting import duration
from transactions.api.legacy.base import staff_reply
from transactions.api.legacy.staff import LEDGER_SUM
from transactions.api.staff.journal import EntryRow, entry_row
from transactions.api.staff.users import UserListView, user_row
from transactions.models import Transaction, User
from transactions.rules.money import ZERO
from transactions.selectors.journal import journal_page

_WITH_PURCHASES: Final = 50  # companies whose newest purchases are listed
_UNITS: Final = {"processing_speed": "{:.1f} merchants/s", "error_rate": "{:.1f}%", "memory_usage": "{:.0f} MB"}
_UNKNOWN: Final = "—"  # the page breaks on null
_UNMEASURED: Final = ("subscription_status", "ai_health", "mapping_accuracy", "engagement_score", "loyalty_score")
# The books are never closed. The page adds its net income to the account of this number, as our balance sheet does.
_RETAINED_EARNINGS: Final = AccountMovement("32000", "Retained earnings", "equity", ZERO, ZERO, ZERO)


# --- Customers and investments ----------------------------------------------------------------------------------------
class LegacyUserListView(UserListView):
    """Adds to the list without `cursor` and `limit`, which the old admin asks for, what each customer has done."""

    def rows(self, request: Request, users: Sequence[User]) -> Sequence[Mapping[str, Any]]:
        if {"cursor", "limit"} & request.query_params.keys():
            return super().rows(request, users)
        figures = customers.customer_figures([user.pk for user in users])
        return [user_row(user) | _figures(user, figures[user.pk]) for user in users]


def _figures(user: User, figures: customers.CustomerFigures) -> dict[str, Any]:
    """Return the keys of the page. What is not measured is null, which it shows as 0 or “Unknown”."""
    shown = asdict(figures) | renamed("customer figures", figures) | renamed("customer", user)
    risk = dict.fromkeys(("risk_level", "risk_profile"), user.risk_tolerance or None)
    return shown | risk | dict.fromkeys(_UNMEASURED)


def overview() -> dict[str, Any]:
    """Return the totals, revenue by week, customers by month, and the newest accounts and transactions."""
    now = platform_overview()
    return {
        "stats": renamed("platform", now),
        "revenueTrend": {"weekData": now.revenue_by_week},
        "userGrowth": [{"name": f"{month:%b}", "value": count} for month, count in now.active_by_month],
        "recentActivity": [
            renamed("activity", row) | {"timestamp": f"{row.at:%Y-%m-%d %H:%M} UTC"} for row in now.activity
        ],
        "systemStatus": {
            "active_users": now.active_customers,
            "server_load": f"{now.load:.0f} %",
            "status": "operational",
            "uptime": str(timedelta(seconds=int(now.uptime))),
            "mapped_transactions": now.ready,
        },
    }


def user_metrics() -> dict[str, Any]:
    """Return how many customers there are, and the sums of all."""
    totals, counts = transaction_totals(), CUSTOMERS_CACHE.get(_customer_counts)
    return counts | {"totalRoundUps": totals.invested, "totalFees": totals.fees, "aiMappings": mapping_totals().total}


def _customer_counts() -> dict[str, Any]:
    counts = customers.customer_counts()
    types = {f"{kind}Users": counts.by_type.get(kind, 0) for kind in User.AccountType.values}
    return {"totalUsers": counts.total, **types, "activeUsers": counts.active, "estimated": counts.estimated}


def investments() -> dict[str, Any]:
    """Return all customers' shares by company at the latest quotes."""
    companies = holdings.company_totals()
    newest = holdings.newest_purchases([company.ticker for company in companies[:_WITH_PURCHASES]])
    return {
        "stats": renamed("investments", holdings.total_of(companies)) | {"uniqueStocks": len(companies)},
        "investments": [_investment(company, newest.get(company.ticker, [])) for company in companies],
    }


def _investment(company: holdings.CompanyTotal, newest: Sequence[holdings.CompanyPurchase]) -> dict[str, Any]:
    """Return a company's card; without a quote its value and gain are 0, as the page needs numbers."""
    return renamed("company", company) | {
        "currentPrice": company.price or ZERO,
        "currentValue": company.value or ZERO,
        "userCount": _UNKNOWN if company.holders is None else company.holders,
        "dashboardCount": _UNKNOWN if company.account_types is None else company.account_types,
        "transactions": [renamed("purchase", row) | {"date": f"{row.date:%Y-%m-%d}"} for row in newest],
    }


# --- The LLM Center ---------------------------------------------------------------------------------------------------
class LegacyDashboardView(DashboardView):
    """Adds performance and categories inside `analytics`, as texts and percentages."""

    def payload(self, data: LlmDashboard) -> Mapping[str, Any]:
        performance: Mapping[str, Any] = data["performance_metrics"]
        categories = data["category_distribution"]
        shown = {name: text.format(performance[name]) for name, text in _UNITS.items() if performance[name] is not None}
        if performance["avg_confidence"] is not None:
            shown["avg_confidence"] = round(performance["avg_confidence"] * 100, 1)
        total = sum(categories.values())
        cards = data["analytics"] | {
            "performanceMetrics": dict.fromkeys(performance) | shown | {"uptime": duration(performance["uptime"])},
            "categoryDistribution": {name: round(count * 100 / total, 1) for name, count in categories.items()},
        }
        # The page calculates with these, also where no proposal was reviewed.
        return {**data, "analytics": cards | {name: cards[name] or 0 for name in ("accuracyRate", "autoApprovalRate")}}


class ProcessPendingView(ProcessBacklogView):
    """The page's notice begins with `mapped`, before the task has counted anything."""

    def more_fields(self) -> dict[str, Any]:
        """Return what is true now, as the notice puts it."""
        totals = transaction_totals()
        pending = totals.count(Transaction.Status.PENDING)
        return {
            "mapped": f"Working in the background on {pending} transactions. So far 0" if pending else 0,
            "no_match": totals.count(Transaction.Status.NEEDS_REVIEW),
        }


# --- The ledger -------------------------------------------------------------------------------------------------------
# The page adds up balances itself, from the rows of `financial/transactions`: those without `debit` and `credit` count
# with their amount. These are the sums of the ledger. Entries of the journal are listed beside them with zeros, so that
# nothing counts twice and every balance is that of the trial balance.
@staff_reply("analytics.view_finance_dashboard", refused="Accounts are added in the admin, under Ledger accounts.")
def accounts_of_category(request: Request) -> dict[str, Any]:
    """Return the accounts of a category, or all, with the balances of the trial balance."""
    category = (request.query_params.get("category") or "all").lower()
    return {"data": [row for row in _cached_accounts() if category in {"all", row["category"].lower()}]}


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
    return [renamed("account", rows[number]) for number in sorted(rows)]


def categories(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the categories with the number of their accounts."""
    numbers = {name: [row["account_number"] for row in rows if row["category"] == name] for name in SECTIONS.values()}
    return {
        "data": [
            {"id": name.lower(), "name": name, "range": f"{found[0]}-{found[-1]}" if found else "", "count": len(found)}
            for name, found in numbers.items()
        ]
    }


def _cached_accounts() -> list[dict[str, Any]]:
    return STAFF_STATS_CACHE.get(accounts, name="legacy-accounts")


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
