"""A customer's account statements."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from analytics.models import Report
from analytics.selectors.periods import month_bounds
from analytics.selectors.queries import fetch_rows
from transactions.models import User
from transactions.rules.money import ZERO
from transactions.selectors.customer import MONTHS, StatementRow, statements

Kind = Report.Kind


def get_account_statement(user: User, report_id: int) -> Report | None:
    """Return the user's own statement of this id."""
    return Report.objects.filter(user=user, pk=report_id, kind=Kind.STATEMENT).first()


def account_statements(user: User) -> QuerySet[Report, Report]:
    """Return the user's newest statements, each as PDF and CSV."""
    return Report.objects.filter(user=user, kind=Kind.STATEMENT).order_by("-period", "-format")[: 2 * MONTHS]


def account_statement_rows(user: User, *, export_url: str, download_url: Callable[[int], str]) -> list[StatementRow]:
    """Return the user's statements, newest first; a month without one has its transaction export instead."""
    rows = [
        StatementRow(
            id=str(report.pk),
            type="monthly",
            period=f"{report.period:%Y-%m}",
            date=(month_bounds(report.period)[1] - timedelta(days=1)).date(),
            size=_file_size(report.size),
            format=report.get_format_display(),
            url=download_url(report.pk),
            created_at=report.made_at,
        )
        for report in account_statements(user)
    ]
    months = {row["period"] for row in rows}
    exports = [row for row in statements(user, export_url=export_url) if row["period"] not in months]
    # The sort is stable: the formats of a month keep their order.
    return sorted([*rows, *exports], key=lambda row: row["period"], reverse=True)


@dataclass(frozen=True, slots=True)
class MonthTotals:
    """A customer's transactions of a month: spent less refunded, and what was set aside and invested; dollars."""

    transactions: int = 0
    spent: Decimal = ZERO
    round_ups: Decimal = ZERO
    invested: Decimal = ZERO


# An index keeps the customer's rows together.
_MONTHS = """
    SELECT to_char(date AT TIME ZONE 'UTC', 'YYYY-MM'), count(*), sum(amount),
           coalesce(sum(round_up) FILTER (WHERE status = 'completed'), 0.00),
           coalesce(sum(investable) FILTER (WHERE status = 'completed'), 0.00)
    FROM transactions
    WHERE user_id = %(user)s AND status <> 'undone' AND date >= %(first)s AND date < %(end)s
    GROUP BY 1
"""


def month_totals(user: User, periods: Iterable[str]) -> dict[str, MonthTotals]:
    """Return the totals of these months (`2026-10`); zeros for a month without transactions."""
    totals = dict.fromkeys(sorted(periods), MonthTotals())
    if totals:
        first, last = (date.fromisoformat(f"{month}-01") for month in (min(totals), max(totals)))
        bounds = {"first": month_bounds(first)[0], "end": month_bounds(last)[1]}
        totals |= {month: MonthTotals(*row) for month, *row in fetch_rows(_MONTHS, user=user.pk, **bounds)}
    return totals


def _file_size(size: int) -> str:
    return f"{size / 1024**2:,.1f} MB" if size >= 1024**2 else f"{max(1, round(size / 1024)):,} KB"
