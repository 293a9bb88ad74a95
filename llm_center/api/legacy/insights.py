"""AI Insights of customers: the companies that they proposed for merchants, and the decisions on them."""

from collections import Counter
from typing import Any, ClassVar, Final

from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.legacy.views import LegacyView
from llm_center.models import LlmMapping
from llm_center.selectors import customer_proposals
from transactions.api.base import current_user

_ROWS: Final = 100
_APPROVED: Final = {"approved": 1, "pending": 0, "rejected": -1}


class InsightsView(LegacyView):
    """The rows are `data`, which the pages of transactions read; the AI pages take `stats` from beside it."""

    rejected: ClassVar[str] = "rejected"  # the individual's page shows only `denied` as such

    def get(self, request: Request) -> Response:
        rows = customer_proposals(current_user(request), limit=_ROWS)
        return Response({"success": True, **self.arrange([_row(row, self.rejected) for row in rows], _stats(rows))})

    def arrange(self, rows: list[dict[str, Any]], stats: dict[str, Any]) -> dict[str, Any]:
        """Return the fields beside `success`."""
        return {"data": rows, "stats": stats}


class FamilyInsightsView(InsightsView):
    def arrange(self, rows: list[dict[str, Any]], stats: dict[str, Any]) -> dict[str, Any]:
        """Return the figures alone."""
        return {"insights": stats}


class FamilyHistoryView(InsightsView):
    def arrange(self, rows: list[dict[str, Any]], stats: dict[str, Any]) -> dict[str, Any]:
        """Return rows and figures, with the names that this page reads."""
        figures = {
            "total_mappings": stats["totalMappings"],
            "approved_mappings": stats["approvedMappings"],
            "pending_mappings": stats["pendingMappings"],
            "accuracy_rate": stats["accuracyRate"],
            "points_earned": 0,
        }
        return {"data": {"mappings": rows, "stats": figures}}


class RecommendationsView(LegacyView):
    """Empty: an error would make the page show made-up recommendations beside it."""

    changes_nothing = True

    def post(self, request: Request) -> Response:
        disclaimer = "Kamioi makes no recommendations. Your round-ups buy the companies that you shop at."
        return Response({"success": True, "data": {"recommendations": [], "insights": [], "disclaimer": disclaimer}})


def _row(row: LlmMapping, rejected: str) -> dict[str, Any]:
    return {
        "id": row.pk,
        "mapping_id": f"AIM{row.pk}",
        "transaction_id": row.transaction_id,
        "user_id": row.user_id,
        "merchant_name": row.merchant_name,
        "ticker": row.ticker,
        "ticker_symbol": row.ticker,
        "company_name": row.company_name,
        "category": row.category,
        "confidence": row.confidence,
        "confidence_status": "Not rated" if not row.confidence else f"{row.confidence:.0%}",
        "notes": row.ai_reasoning,
        "source": "Your proposal",
        "status": rejected if row.status == LlmMapping.Status.REJECTED else row.status,
        "admin_approved": _APPROVED[row.status],
        "points": "0",  # there are none, and the pages replace the number 0 by 5 or 10
        "submitted_at": row.created_at,
        "created_at": row.created_at,
    }


def _stats(rows: list[LlmMapping]) -> dict[str, Any]:
    counts = Counter(row.status for row in rows)
    decided = counts["approved"] + counts["rejected"]
    return {
        "totalMappings": len(rows),
        "approvedMappings": counts["approved"],
        "pendingMappings": counts["pending"],
        "rejectedMappings": counts["rejected"],
        "accuracyRate": round(counts["approved"] * 100 / decided, 2) if decided else None,
        "pointsEarned": 0,
    }
