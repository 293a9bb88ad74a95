"""Figures on the old admin's first page, its list of customers, and its summary of investments."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, Final

from rest_framework.request import Request

from analytics.selectors import customers, finance, holdings, operations
from analytics.selectors.llm_center import mapping_totals
from analytics.selectors.periods import utc_today
from analytics.selectors.review_stats import CUSTOMERS_CACHE
from analytics.selectors.transactions import transaction_totals
from kamioi_site.api.legacy.names import renamed
from transactions.api.staff.users import UserListView, user_row
from transactions.models import Transaction, User
from transactions.rules.money import ZERO

_WITH_PURCHASES: Final = 50  # companies whose newest purchases are listed
_UNKNOWN: Final = "—"  # the page breaks on null


class LegacyUserListView(UserListView):
    """Adds to the list without `cursor` and `limit`, which the old admin asks for, what each customer has done."""

    def rows(self, request: Request, users: Sequence[User]) -> Sequence[Mapping[str, Any]]:
        if {"cursor", "limit"} & request.query_params.keys():
            return super().rows(request, users)
        figures = customers.customer_figures([user.pk for user in users])
        return [user_row(user) | _figures(user, figures[user.pk]) for user in users]


def overview() -> dict[str, Any]:
    """Return the totals, revenue by week, customers by month, and the newest accounts and transactions."""
    today, totals = utc_today(), transaction_totals()
    months = customers.active_customers_by_month(last=today, months=6)
    return {
        "stats": {
            "totalTransactions": totals.total,
            "totalRevenue": sum(finance.revenue_by_day(date.min, today).values(), ZERO),
            "totalRoundUps": totals.invested,
            "portfolioValue": holdings.total_of(holdings.company_totals()).value,
        },
        "revenueTrend": {"weekData": finance.revenue_by_week(today)},
        "userGrowth": [{"name": f"{month:%b}", "value": count} for month, count in months],
        "recentActivity": [
            {"id": row.id, "type": row.type, "description": row.text, "timestamp": f"{row.at:%Y-%m-%d %H:%M} UTC"}
            for row in customers.recent_activity()
        ],
        "systemStatus": {
            "active_users": months[-1][1],
            "server_load": f"{operations.machine_load():.0f} %",
            "status": "operational",
            "uptime": str(timedelta(seconds=int(operations.process_uptime()))),
            "mapped_transactions": totals.count(Transaction.Status.MAPPED),
        },
    }


def user_metrics() -> dict[str, Any]:
    """Return how many customers there are, and the sums of all."""
    totals, counts = transaction_totals(), CUSTOMERS_CACHE.get(_customer_counts)
    return counts | {"totalRoundUps": totals.invested, "totalFees": totals.fees, "aiMappings": mapping_totals().total}


def investments() -> dict[str, Any]:
    """Return all customers' shares by company at the latest quotes."""
    companies = holdings.company_totals()
    newest = holdings.newest_purchases([company.ticker for company in companies[:_WITH_PURCHASES]])
    return {
        "stats": renamed("investments", holdings.total_of(companies)) | {"uniqueStocks": len(companies)},
        "investments": [_investment(company, newest.get(company.ticker, [])) for company in companies],
    }


def _customer_counts() -> dict[str, Any]:
    counts = customers.customer_counts()
    types = {f"{kind}Users": counts.by_type.get(kind, 0) for kind in User.AccountType.values}
    return {"totalUsers": counts.total, **types, "activeUsers": counts.active, "estimated": counts.estimated}


def _figures(user: User, figures: customers.CustomerFigures) -> dict[str, Any]:
    """Return the keys of the page. What is not measured is null, which it shows as 0 or “Unknown”."""
    unmeasured = ("subscription_status", "ai_health", "mapping_accuracy", "engagement_score", "loyalty_score")
    return {
        **asdict(figures),
        **dict.fromkeys(("total_lifetime_transactions", "activity_count"), figures.transaction_count),
        "avg_monthly_transactions": round(figures.transaction_count / max(figures.active_months, 1), 1),
        **dict.fromkeys(("address", "street"), user.address),
        "zip": user.zip_code,
        "user_guid": user.user_guid,
        **dict.fromkeys(("risk_level", "risk_profile"), user.risk_tolerance or None),
        **dict.fromkeys(unmeasured),
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
