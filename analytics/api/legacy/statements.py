"""A customer's account statements as the old Reports and Statements pages read and request them."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.views.account_statements import StatementListView
from analytics.models import Report
from analytics.selectors.periods import month_name, months_before, utc_today
from analytics.selectors.reports import account_statements, month_totals
from analytics.services.reports.requests import open_statement_requests, parse_period, request_report
from kamioi_site.api.legacy.names import renamed
from kamioi_site.api.legacy.views import LegacyView, replying
from transactions.api.base import accepted, current_user
from transactions.api.legacy.base import BannerErrors, NotOfferedError
from transactions.selectors.customer import StatementRow

_OTHER_REPORTS: Final = (
    "Kamioi makes account statements of past months, which are listed below. There are no reports of this kind."
)


class LegacyStatementListView(StatementListView):
    """Adds the statements with the figures of their months, which the old family page adds up."""

    def payload(self, request: Request, rows: list[StatementRow]) -> Mapping[str, Any]:
        months = month_totals(current_user(request), {row["period"] for row in rows})
        statements = [
            {**row, "period": month_name(parse_period(row["period"])), "status": "available", "size": row["size"] or ""}
            | renamed("month", months[row["period"]])
            for row in rows
        ]
        return {"success": True, "data": rows, "statements": statements}


@replying()
def reports(request: Request) -> dict[str, Any]:
    """Return the caller's statements as PDF, newest first: those that are being made, and those that are done."""
    user = current_user(request)
    tasks = [
        _report(str(task.pk), date.fromisoformat(task.arguments["period"]), task.created_at, "generating")
        for task in open_statement_requests(user)
    ]
    done = [
        _report(report.pk, report.period, report.made_at, "completed")
        for report in account_statements(user)
        if report.format == Report.Format.PDF
    ]
    return {"reports": [*tasks, *done]}


class GenerateView(BannerErrors, LegacyView):
    def post(self, request: Request) -> Response:
        """Request the statement of a month that is over, by default of the last one; 501 for other kinds of reports."""
        body = request.data if isinstance(request.data, Mapping) else {}
        if body.get("type") not in {"monthly", "financial"}:
            raise NotOfferedError(_OTHER_REPORTS)
        month = body.get("start_date") or body.get("period") or months_before(utc_today(), 1)
        user, period = current_user(request), parse_period(str(month)[:7])
        task = request_report(kind=Report.Kind.STATEMENT, period=period, user=user, requested_by=user)
        return accepted(task, message="The statement is being made. It is listed when it is done.")


def _report(pk: int | str, period: date, at: datetime, state: str) -> dict[str, Any]:
    name = f"Account statement {month_name(period)}"
    return {"id": pk, "name": name, "type": "monthly", "status": state, "format": "PDF", "created_at": at}
