"""The platform at a glance: totals, revenue by week, customers by month, what happened last, and this machine."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from analytics.selectors import customers, finance, holdings, operations
from analytics.selectors.periods import utc_today
from analytics.selectors.transactions import transaction_totals
from transactions.models import Transaction
from transactions.rules.money import ZERO


@dataclass(frozen=True, slots=True)
class PlatformOverview:
    """Dollars and counts of all time; `ready` transactions wait for their order, `load` is percent, `uptime` seconds.

    `revenue_by_week` is that of four weeks and of today, `active_by_month` that of six months, this one last.
    """

    transactions: int
    ready: int
    revenue: Decimal
    round_ups: Decimal
    portfolio_value: Decimal
    revenue_by_week: list[Decimal]
    active_by_month: list[tuple[date, int]]
    activity: list[customers.Activity]
    load: float
    uptime: float

    @property
    def active_customers(self) -> int:
        """Those with a purchase this month."""
        return self.active_by_month[-1][1]


def platform_overview() -> PlatformOverview:
    today, totals = utc_today(), transaction_totals()
    return PlatformOverview(
        transactions=totals.total,
        ready=totals.count(Transaction.Status.MAPPED),
        revenue=sum(finance.revenue_by_day(date.min, today).values(), ZERO),
        round_ups=totals.invested,
        portfolio_value=holdings.total_of(holdings.company_totals()).value,
        revenue_by_week=finance.revenue_by_week(today),
        active_by_month=customers.active_customers_by_month(last=today, months=6),
        activity=customers.recent_activity(),
        load=operations.machine_load(),
        uptime=operations.process_uptime(),
    )
