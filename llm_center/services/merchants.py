"""Changes to the merchant directory that all decisions share."""

import json
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db import connection
from psycopg2.extras import execute_values

from llm_center.cache import invalidate_mappings
from llm_center.matcher import Proposal
from llm_center.models import MappingDecision
from llm_center.sql import load_sql
from transactions.models import Merchant

_columns = attrgetter(
    "pk", "ticker", "company_name", "category", "confidence", "stated_confidence", "reason", "source", "status"
)
_DECISION_COLUMNS = (
    "merchant_key", "action", "reason", "decided_by_id", "automatic", "released_count", "waited_seconds", "decided_at",
)  # fmt: skip
_decision_columns = attrgetter(*_DECISION_COLUMNS)
_INSERT = f"INSERT INTO mapping_decisions ({', '.join(_DECISION_COLUMNS)}, before, after) VALUES %s RETURNING id"  # noqa: S608
_VALUES = (
    "(%s, %s::text, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::bigint, %s::timestamptz, "
    "%s::bigint, %s::timestamptz)"
)


def merchant_snapshot(merchant: Merchant) -> dict[str, Any]:
    """Return the columns that a decision changes, for its record and for undoing it.

    `decision_id` is null in the `after` of a decision: it has no id yet.
    """
    return {
        "status": merchant.status,
        "ticker": merchant.ticker,
        "company_name": merchant.company_name,
        "confidence": None if merchant.confidence is None else str(merchant.confidence),
        "raw_confidence": None if merchant.stated_confidence is None else str(merchant.stated_confidence),
        "source": merchant.source,
        "rejected_tickers": merchant.rejected_tickers,
        "decided_by": merchant.decided_by_id,
        "decided_at": merchant.decided_at and merchant.decided_at.isoformat(),
        "decision_id": merchant.decision_id,
    }


def record_decisions(decided: Sequence[tuple[Merchant, MappingDecision]]) -> None:
    """Insert the decisions and set them on their merchants, without saving these."""
    if not decided:
        return
    with connection.cursor() as cursor:
        ids = execute_values(
            cursor.cursor,
            _INSERT,
            [(*_decision_columns(row), json.dumps(row.before), json.dumps(row.after)) for _, row in decided],
            page_size=1_000,
            fetch=True,
        )
    for (merchant, decision), (pk,) in zip(decided, ids, strict=True):
        merchant.decision_id = decision.pk = pk


def apply_proposal(merchant: Merchant, proposal: Proposal) -> None:
    """Copy the proposal to the merchant, without saving it."""
    merchant.ticker = proposal.ticker
    merchant.company_name = proposal.company_name[:200]
    merchant.category = (merchant.category or proposal.category)[:100]
    merchant.confidence = proposal.confidence
    merchant.stated_confidence = proposal.stated_confidence
    merchant.reason = proposal.reason
    merchant.source = Merchant.Source(proposal.source)
    merchant.alternatives = [
        {"ticker": other.ticker, "company_name": other.company_name, "brand": other.brand}
        for other in proposal.alternatives
    ]


def update_merchants(merchants: Sequence[Merchant], now: datetime) -> None:
    """Save the proposal and decision of many merchants in one statement."""
    invalidate_mappings()
    with connection.cursor() as cursor:
        execute_values(
            cursor.cursor,
            load_sql("update_merchants"),
            [
                (
                    *_columns(row),
                    json.dumps(row.alternatives),
                    json.dumps(row.rejected_tickers),
                    row.decided_by_id,
                    row.decided_at,
                    row.decision_id,
                    now,
                )
                for row in merchants
            ],
            template=_VALUES,
            page_size=500,
        )
