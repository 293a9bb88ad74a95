"""AI Insights of customers: the companies that they proposed for merchants, and the decisions on them."""

from typing import Any, ClassVar, Final

from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.legacy.names import renamed
from kamioi_site.api.legacy.views import LegacyView
from llm_center.models import LlmMapping
from llm_center.selectors import ProposalCounts, customer_proposals, proposal_counts
from transactions.api.base import current_user

_ROWS: Final = 100
_APPROVED: Final = {"approved": 1, "pending": 0, "rejected": -1}
_Rows = list[dict[str, Any]]


class InsightsView(LegacyView):
    """The rows are `data`, which the pages of transactions read; the AI pages take `stats` from beside it."""

    rejected: ClassVar[str] = "rejected"  # the individual's page shows only `denied` as such

    def get(self, request: Request) -> Response:
        rows = customer_proposals(current_user(request), limit=_ROWS)
        return Response({"success": True, **self.arrange([self.row(row) for row in rows], proposal_counts(rows))})

    def row(self, row: LlmMapping) -> dict[str, Any]:
        """Return a proposal as its table shows it."""
        return renamed("proposal", row) | {
            "mapping_id": f"AIM{row.pk}",
            "confidence_status": "Not rated" if not row.confidence else f"{row.confidence:.0%}",
            "source": "Your proposal",
            "status": self.rejected if row.status == LlmMapping.Status.REJECTED else row.status,
            "admin_approved": _APPROVED[row.status],
            "points": "0",  # there are none, and the pages replace the number 0 by 5 or 10
        }

    def arrange(self, rows: _Rows, counts: ProposalCounts) -> dict[str, Any]:
        """Return the fields beside `success`."""
        return {"data": rows, "stats": renamed("proposals", counts) | {"pointsEarned": 0}}


class FamilyInsightsView(InsightsView):
    def arrange(self, rows: _Rows, counts: ProposalCounts) -> dict[str, Any]:
        """Return the figures alone."""
        return {"insights": renamed("proposals", counts) | {"pointsEarned": 0}}


class FamilyHistoryView(InsightsView):
    def arrange(self, rows: _Rows, counts: ProposalCounts) -> dict[str, Any]:
        """Return rows and figures, with the names that this page reads."""
        figures = renamed("proposals of a family", counts) | {"points_earned": 0}
        return {"data": {"mappings": rows, "stats": figures}}
