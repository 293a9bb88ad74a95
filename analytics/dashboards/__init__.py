"""The dashboards of the admin."""

from typing import Final

from analytics.dashboards.finance import FINANCE
from analytics.dashboards.financial_statements import FINANCIAL_STATEMENTS
from analytics.dashboards.framework import Dashboard
from analytics.dashboards.llm_center import LLM_CENTER
from analytics.dashboards.operations import OPERATIONS
from analytics.dashboards.transactions import TRANSACTIONS

DASHBOARDS: Final = (LLM_CENTER, TRANSACTIONS, FINANCE, FINANCIAL_STATEMENTS, OPERATIONS)


def get_dashboard(name: str) -> Dashboard | None:
    return next((dashboard for dashboard in DASHBOARDS if dashboard.name == name), None)
