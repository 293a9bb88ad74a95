"""Views of the LLM Center that need figures."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from analytics.api.legacy.figures import dashboard
from analytics.api.views.llm_center import DashboardView
from analytics.api.views.maintenance import ProcessBacklogView
from analytics.selectors.llm_center_api import LlmDashboard
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from analytics.selectors.transactions import transaction_totals
from llm_center.services.review.queue import queue_totals_cached
from llm_center.services.staff_maintenance import is_queue_enabled
from transactions.api.legacy.base import staff_reply
from transactions.models import Transaction


class LegacyDashboardView(DashboardView):
    def payload(self, data: LlmDashboard) -> Mapping[str, Any]:
        """Add what the Analytics tab reads."""
        return dashboard(data)


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


@staff_reply("llm_center.view_llmmapping", method="post", changes_nothing=True)
def auto_process(_: Request) -> dict[str, Any]:
    """Start nothing: every open page calls this once or twice a second, and the queue runs on its schedule."""
    return {"processed": 0, "mapped": 0, "no_match": 0} | STAFF_STATS_CACHE.get(_queue_state, name="auto-process")


def _queue_state() -> dict[str, Any]:
    return {"enabled": is_queue_enabled(), "waiting_merchants": queue_totals_cached()[0]}
