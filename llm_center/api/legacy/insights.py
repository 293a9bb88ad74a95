"""AI Insights of customers: the companies that they proposed for merchants, and the decisions on them."""

from typing import Any, Final

from rest_framework.request import Request

from kamioi_site.api.legacy.views import renamed, replying
from llm_center.models import LlmMapping
from llm_center.selectors import customer_proposals, proposal_counts
from transactions.api.base import current_user

_APPROVED: Final = {"approved": 1, "pending": 0, "rejected": -1}


def insights_view(*, rejected: str) -> Any:
    """Return a view with the rows as `data`, which pages of transactions read; the AI pages take `stats` too."""

    @replying()
    def insights(request: Request) -> dict[str, Any]:
        rows = customer_proposals(current_user(request))
        return {"data": [_row(row, rejected) for row in rows], "stats": _stats(rows)}

    return insights


@replying()
def family_insights(request: Request) -> dict[str, Any]:
    return {"insights": _stats(customer_proposals(current_user(request)))}


@replying()
def family_history(request: Request) -> dict[str, Any]:
    rows = customer_proposals(current_user(request))
    stats = renamed("proposals of a family", proposal_counts(rows)) | {"points_earned": 0}
    return {"data": {"mappings": [_row(row) for row in rows], "stats": stats}}


def _row(row: LlmMapping, rejected: str = "rejected") -> dict[str, Any]:
    return renamed("proposal", row) | {
        "mapping_id": f"AIM{row.pk}",
        "confidence_status": "Not rated" if not row.confidence else f"{row.confidence:.0%}",
        "source": "Your proposal",
        "status": rejected if row.status == LlmMapping.Status.REJECTED else row.status,
        "admin_approved": _APPROVED[row.status],
        "points": "0",  # there are none, and the pages replace the number 0 by 5 or 10
    }


def _stats(rows: list[LlmMapping]) -> dict[str, Any]:
    return renamed("proposals", proposal_counts(rows)) | {"pointsEarned": 0}
