"""Rows of the LLM Center in the shapes of the legacy front end."""

from decimal import Decimal
from typing import Any, Final

from dateutil.relativedelta import relativedelta
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError

from llm_center.models import AssetEvent, LlmDataAsset, LlmMapping
from llm_center.services.amortization import Charge

PAGE_CAP: Final = 10_000
"""Pages by number end here, and totals are counted no further: beyond it, pages go by cursor."""

_APPROVED: Final = {LlmMapping.Status.APPROVED: 1, LlmMapping.Status.PENDING: 0, LlmMapping.Status.REJECTED: -1}
_SOURCES: Final = {1: "admin_approved", 0: "pending", -1: "admin_rejected"}
_LABELS: Final = {1: "Approved", 0: "Pending", -1: "Rejected"}


def mapping_row(row: LlmMapping) -> dict[str, Any]:
    """One row of the log, with its user."""
    approved = _APPROVED[LlmMapping.Status(row.status)]
    return {
        "id": row.pk,
        "merchant_name": row.merchant_name,
        "ticker": row.ticker,
        "category": row.category,
        "confidence": row.confidence,
        "admin_approved": approved,
        "user_id": row.user_id,
        "created_at": row.created_at,
        "company_name": row.company_name,
        "status": row.status,
        "transaction_id": row.transaction_id,
        "ai_processed": row.ai_processed,
        "ai_attempted": row.ai_processed,
        "ai_status": row.status,
        "ai_confidence": row.confidence,
        "ai_reasoning": row.ai_reasoning,
        "ai_model_version": row.ai_model_version,
        "ai_processing_duration": row.ai_processing_ms,
        "ai_processing_time": row.ai_decided_at,
        "suggested_ticker": row.ticker,
        "user_email": row.user.email if row.user else None,
        "user_account_number": row.user.account_number if row.user else None,
        "user_name": row.user.name if row.user else None,
        "approval_source": _SOURCES[approved],
        "approval_status_label": _LABELS[approved],
        "display_status": row.status,
    }


def page_of(rows: QuerySet[LlmMapping, LlmMapping], page: str, limit: int) -> dict[str, Any]:
    """A page by number. Raises ValidationError for one past row 10,000, which a cursor reaches."""
    number = int(page) if page.isascii() and page.isdigit() else 0
    if number < 1 or number * limit > PAGE_CAP:
        raise ValidationError({"page": [f"Pages by number go from 1 to row {PAGE_CAP:,}; use `cursor` beyond."]})
    ordered = rows.order_by("-created_at", "-pk")
    found = list(ordered[(number - 1) * limit : number * limit])
    total = ordered.values("pk")[:PAGE_CAP].count()
    pages = max(1, -(-total // limit))
    return {
        "mappings": [mapping_row(row) for row in found],
        "pagination": {
            "page": number,
            "limit": limit,
            "total": total,
            "pages": pages,
            "has_next": number < pages,
            "has_prev": number > 1,
            "current_page": number,
            "total_pages": pages,
            "total_count": total,
            "total_is_capped": total == PAGE_CAP,
        },
    }


def asset_row(asset: LlmDataAsset) -> dict[str, Any]:
    """A data asset; needs `amortization` and `events` prefetched. What was never measured is null."""
    charged = sum((entry.amount for entry in asset.amortization.all() if entry.reversed_at is None), Decimal(0))
    events = list(asset.events.all())
    impaired = sum((event.amount for event in events if event.kind == AssetEvent.Kind.IMPAIRMENT), Decimal(0))
    disposed = asset.status == LlmDataAsset.Status.DISPOSED
    breakdown: dict[str, Decimal] = {}
    for event in events:
        if event.kind == AssetEvent.Kind.COST:
            breakdown[event.component] = breakdown.get(event.component, Decimal(0)) + event.amount
    return {
        "asset_id": asset.pk,
        "asset_name": asset.asset_name,
        "asset_type": asset.asset_type,
        "status": asset.status,
        "current_value": asset.current_value,
        "training_cost": asset.cost_basis,
        "cost_basis": {"total": asset.cost_basis, "breakdown": breakdown},
        "economic_value": asset.current_value,
        "carrying_value": Decimal(0) if disposed else asset.cost_basis - charged - impaired,
        "amortized_value": charged,
        "impairment_loss": impaired,
        "performance_score": None,
        "accuracy_rate": None,
        "processing_speed": None,
        "roi_percentage": None,
        "model_version": asset.model_version,
        "gl_account": asset.gl_account,
        "last_updated": asset.updated_at,
    }


def assets_summary(assets: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums over rows of `asset_row`. What was never measured is null."""
    return {
        "total_assets": len(assets),
        "total_value": sum((asset["current_value"] for asset in assets), Decimal(0)),
        "total_cost": sum((asset["training_cost"] for asset in assets), Decimal(0)),
        "total_carrying_value": sum((asset["carrying_value"] for asset in assets), Decimal(0)),
        "average_performance": None,
        "average_roi": None,
        "gl_account": "15200",
    }


def schedule_row(month: Charge) -> dict[str, Any]:
    """A month of an asset's schedule."""
    return {
        "period": f"{month.period:%Y-%m}",
        "period_start": month.period,
        "period_end": month.period + relativedelta(months=1, days=-1),
        "amortization_expense": month.amount,
        "remaining_value": month.carrying,
        "booked": month.booked,
    }
