"""A customer's account statements."""

from collections.abc import Callable
from datetime import timedelta

from analytics.models import Report
from analytics.selectors.periods import month_bounds
from transactions.models import User
from transactions.selectors.customer import MONTHS, StatementRow, statements

Kind = Report.Kind


def get_account_statement(user: User, report_id: int) -> Report | None:
    """Return the user's own statement of this id."""
    return Report.objects.filter(user=user, pk=report_id, kind=Kind.STATEMENT).first()


def account_statement_rows(user: User, *, export_url: str, download_url: Callable[[int], str]) -> list[StatementRow]:
    """Return the user's statements, newest first; a month without one has its transaction export instead."""
    reports = Report.objects.filter(user=user, kind=Kind.STATEMENT).order_by("-period", "-format")[: 2 * MONTHS]
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
        for report in reports
    ]
    months = {row["period"] for row in rows}
    exports = [row for row in statements(user, export_url=export_url) if row["period"] not in months]
    # The sort is stable: the formats of a month keep their order.
    return sorted([*rows, *exports], key=lambda row: row["period"], reverse=True)


def _file_size(size: int) -> str:
    return f"{size / 1024**2:,.1f} MB" if size >= 1024**2 else f"{max(1, round(size / 1024)):,} KB"
