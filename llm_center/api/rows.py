"""The rows of the LLM Center as the legacy front end knows them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypedDict

from dateutil.relativedelta import relativedelta
from django.db.models import QuerySet

from kamioi_site.pagination import NUMBERED_ROWS_MAX, numbered_rows
from llm_center.models import AssetEvent, LlmDataAsset, LlmMapping
from llm_center.services.amortization import Charge
from transactions.models import Merchant

_APPROVED: Final = {LlmMapping.Status.APPROVED: 1, LlmMapping.Status.PENDING: 0, LlmMapping.Status.REJECTED: -1}
_SOURCES: Final = {1: "admin_approved", 0: "pending", -1: "admin_rejected"}
_LABELS: Final = {1: "Approved", 0: "Pending", -1: "Rejected"}


class MappingRow(TypedDict):
    """A row of the mapping log. `admin_approved` is 1, 0 or -1; confidence is 0 to 1."""

    id: int
    merchant_name: str
    ticker: str | None
    category: str
    confidence: Decimal
    admin_approved: int
    user_id: int | None
    created_at: datetime
    company_name: str
    status: str
    transaction_id: int | None
    ai_processed: bool
    ai_attempted: bool
    ai_status: str
    ai_confidence: Decimal
    ai_reasoning: str
    ai_model_version: str
    ai_processing_duration: int | None
    ai_processing_time: datetime | None
    suggested_ticker: str | None
    user_email: str | None
    user_account_number: str | None
    user_name: str | None
    approval_source: str
    approval_status_label: str
    display_status: str
    merchant_version: str | None


class NumberedMappings(TypedDict):
    """A numbered page, as the legacy system returns it. Totals are counted up to 10,000."""

    mappings: list[MappingRow]
    pagination: dict[str, Any]


def mapping_rows(rows: Sequence[LlmMapping]) -> list[MappingRow]:
    """Return rows of the log with their users and the versions of their merchants."""
    merchants = Merchant.objects.filter(merchant_key__in={row.merchant_key for row in rows})
    versions = dict(merchants.values_list("merchant_key", "updated_at"))
    return [_mapping_row(row, versions.get(row.merchant_key)) for row in rows]


def _mapping_row(row: LlmMapping, version: datetime | None) -> MappingRow:
    approved = _APPROVED[LlmMapping.Status(row.status)]
    user = row.user
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
        "user_email": user.email if user else None,
        "user_account_number": user.account_number if user else None,
        "user_name": user.name if user else None,
        "approval_source": _SOURCES[approved],
        "approval_status_label": _LABELS[approved],
        "display_status": row.status,
        "merchant_version": version.isoformat() if version else None,
    }


def newest_mappings(status: str, *, limit: int) -> list[MappingRow]:
    """Return the latest rows with this status."""
    rows = LlmMapping.objects.select_related("user").filter(status=status).order_by("-created_at", "-pk")
    return mapping_rows(list(rows[:limit]))


def numbered_page(rows: QuerySet[LlmMapping, LlmMapping], *, page: int, limit: int) -> NumberedMappings:
    """Return a numbered page, newest first."""
    page_rows, total = numbered_rows(rows.order_by("-created_at", "-pk"), page=page, limit=limit)
    return numbered(page_rows, total, page=page, limit=limit)


def numbered(rows: Sequence[LlmMapping], total: int, *, page: int, limit: int) -> NumberedMappings:
    """Return these rows as a page of a list with `total` rows."""
    pages = max(1, -(-total // limit))
    return {
        "mappings": mapping_rows(rows),
        "pagination": {
            "page": page,
            "limit": limit,
            "total": total,
            "pages": pages,
            "has_next": page < pages,
            "has_prev": page > 1,
            "current_page": page,
            "total_pages": pages,
            "total_count": total,
            "total_is_capped": total == NUMBERED_ROWS_MAX,
        },
    }


def asset_rows() -> list[dict[str, Any]]:
    """Return all data assets. What was never measured is null."""
    assets = LlmDataAsset.objects.prefetch_related("amortization__reversal", "events").order_by("pk")
    return [_asset_row(asset) for asset in assets]


def _asset_row(asset: LlmDataAsset) -> dict[str, Any]:
    charged = sum((entry.amount for entry in asset.amortization.all() if not entry.is_reversed), Decimal(0))
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
    """Return the sums over the rows of `asset_rows`."""
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
    """Return a month of an asset's amortization schedule."""
    return {
        "period": f"{month.period:%Y-%m}",
        "period_start": month.period,
        "period_end": month.period + relativedelta(months=1, days=-1),
        "amortization_expense": month.amount,
        "remaining_value": month.carrying,
        "booked": month.posted,
    }
