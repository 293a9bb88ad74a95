"""The trial balance, the balance sheet, and profit and loss for staff."""

from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, TypedDict, cast

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.serializers import PeriodInput
from analytics.selectors.financial_statements import FinancialStatements, financial_statements
from analytics.selectors.periods import Period, utc_today
from analytics.selectors.queries import ledger_counted_at
from kamioi_site.api.payloads import Data
from transactions.api.base import validated
from transactions.api.staff.base import StaffView
from transactions.rules.money import ZERO

_DEFAULT_DAYS: Final = 30


class TrialBalanceAccount(TypedDict):
    """An account; `opening` is positive for a debit balance."""

    number: str
    name: str
    type: str
    opening: Decimal
    debit: Decimal
    credit: Decimal
    closing_debit: Decimal
    closing_credit: Decimal


class TrialBalance(TypedDict):
    """The accounts and their sums."""

    accounts: list[TrialBalanceAccount]
    debit: Decimal
    credit: Decimal
    closing_debit: Decimal
    closing_credit: Decimal


class StatementLine(TypedDict):
    """A line of a statement; `number` is empty for retained earnings."""

    section: str
    number: str
    name: str
    amount: Decimal


class BalanceSheet(TypedDict):
    """The balances on `end_date`; equity includes retained earnings."""

    lines: list[StatementLine]
    assets: Decimal
    liabilities: Decimal
    equity: Decimal


class ProfitAndLoss(TypedDict):
    """Revenue and expense of the period."""

    lines: list[StatementLine]
    revenue: Decimal
    expense: Decimal
    profit: Decimal


class FinancialStatementsData(TypedDict):
    """The statements of a period, with what was posted before `counted_at`."""

    start_date: date
    end_date: date
    counted_at: datetime | None
    is_balanced: bool
    trial_balance: TrialBalance
    balance_sheet: BalanceSheet
    profit_and_loss: ProfitAndLoss


class FinancialStatementsView(StaffView):
    required_permissions = ("analytics.view_finance_dashboard",)

    @extend_schema(parameters=[PeriodInput], responses={200: Data[FinancialStatementsData]}, tags=["journal"])
    def get(self, request: Request) -> Response:
        """Return trial balance, balance sheet, and profit and loss of a period (UTC); by default the last 30 days."""
        values = validated(PeriodInput(data=request.query_params))
        last = values.get("end_date") or utc_today()
        first = values.get("start_date") or last - timedelta(days=_DEFAULT_DAYS - 1)
        if first > last:
            raise ValidationError({"start_date": ["The period ends before it begins."]})
        return Response({"success": True, "data": _to_data(financial_statements(Period(first, last)))})


def _to_data(statements: FinancialStatements) -> FinancialStatementsData:
    accounts = [cast("TrialBalanceAccount", asdict(row)) for row in statements.trial_balance]
    return FinancialStatementsData(
        start_date=statements.period.first,
        end_date=statements.period.last,
        counted_at=ledger_counted_at(),
        is_balanced=statements.is_balanced,
        trial_balance=TrialBalance(
            accounts=accounts,
            debit=sum((account["debit"] for account in accounts), ZERO),
            credit=sum((account["credit"] for account in accounts), ZERO),
            closing_debit=sum((account["closing_debit"] for account in accounts), ZERO),
            closing_credit=sum((account["closing_credit"] for account in accounts), ZERO),
        ),
        balance_sheet=BalanceSheet(
            lines=[cast("StatementLine", asdict(row)) for row in statements.balance_sheet],
            assets=statements.assets,
            liabilities=statements.liabilities,
            equity=statements.equity,
        ),
        profit_and_loss=ProfitAndLoss(
            lines=[cast("StatementLine", asdict(row)) for row in statements.profit_and_loss],
            revenue=statements.revenue,
            expense=statements.expense,
            profit=statements.profit,
        ),
    )
