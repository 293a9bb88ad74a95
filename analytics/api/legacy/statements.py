"""A customer's account statements as the old Reports and Statements pages read and request them."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.views.account_statements import StatementListView
from analytics.models import Report
from analytics.selectors.periods import month_name, months_before, utc_today
from analytics.selectors.reports import month_totals
from analytics.services.reports.requests import StatementState, parse_period, request_report, statement_states
from kamioi_site.api.legacy.views import NotOfferedError, renamed, replying
from transactions.api.base import accepted, current_user
from transactions.selectors.customer import StatementRow


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
    return {"reports": [_report(state) for state in statement_states(current_user(request))]}


def _report(state: StatementState) -> dict[str, Any]:
    return {
        "id": state.id,
        "name": f"Account statement {month_name(state.period)}",
        "type": "monthly",
        "status": "completed" if state.is_made else "generating",
        "format": "PDF",
        "created_at": state.at,
    }


@replying(method="post")
def generate(request: Request) -> Response:
    """Request the statement of a month that is over, by default of the last one; 501 for other kinds of reports."""
    body = request.data if isinstance(request.data, Mapping) else {}
    if body.get("type") not in {"monthly", "financial"}:
        raise NotOfferedError(
            "Kamioi makes account statements of past months, which are listed below. There are no reports of this kind."
        )
    month = body.get("start_date") or body.get("period") or months_before(utc_today(), 1)
    user, period = current_user(request), parse_period(str(month)[:7])
    task = request_report(kind=Report.Kind.STATEMENT, period=period, user=user, requested_by=user)
    return accepted(task, message="The statement is being made. It is listed when it is done.")
