"""What rows of the mapping tables must have become, worked out without the converters. Free of Django."""

from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, Final

from transactions.legacy.validate.oracle import OracleContext, OracleTable
from transactions.legacy.validate.oracle_values import (
    Row,
    first_time,
    merchant_key,
    read_flag,
    read_number,
    read_text,
    read_ticker,
    read_time,
    read_whole,
    read_word,
)

_TIMES: Final = ("created_at", "ai_decision_timestamp", "processed_at", "ai_processing_time")


def _mapping(row: Row, context: OracleContext) -> dict[str, Any] | str:
    merchant = (read_text(row["merchant_name"]) or "")[:255]
    if not merchant.strip():
        return "no merchant"
    at = first_time(row, _TIMES, context.latest)
    if at is None:
        return "no readable date"
    mark = row.get("transaction_id")
    is_bulk = isinstance(mark, bytes) and mark.strip().lower().startswith(b"bulk_")

    word = read_word(row.get("status")).replace("_", "-")
    flag = read_flag(row.get("admin_approved"))
    if flag == -1 or word == "rejected":
        status = "rejected"
    elif flag == 1 or word in ("approved", "auto-approved", "applied"):
        status = "approved"
    else:
        status = "pending"

    took = read_whole(row.get("ai_processing_duration"))
    return {
        "transaction_id": read_whole(mark) if row["extra"] else None,
        "merchant_name": merchant,
        "merchant_key": merchant_key(merchant),
        "ticker": read_ticker(row.get("ticker")),
        "category": (read_text(row.get("category")) or "")[:100],
        "confidence": _confidence(row.get("confidence")),
        "status": status,
        "admin_approved": status == "approved",
        "ai_processed": read_flag(row.get("ai_processed")) == 1,
        "company_name": (read_text(row.get("company_name")) or "")[:200],
        "user_id": None if is_bulk else _user(row.get("user_id"), context),
        "source": "bulk" if is_bulk else "legacy",
        "created_at": at,
        "ai_model_version": (read_text(row.get("ai_model_version")) or "")[:100],
        "ai_reasoning": read_text(row.get("ai_reasoning")) or "",
        "ai_auto_approved": read_flag(row.get("ai_auto_approved")) == 1,
        "ai_processing_ms": took if took is not None and 0 <= took < 2**31 else None,
        "ai_decided_at": read_time(row.get("ai_decision_timestamp")),
    }


def _user(value: Any, context: OracleContext) -> int | None:
    text = (read_text(value) or "").strip().removesuffix(".0")
    return context.users.get(int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else None


@lru_cache(maxsize=100_000)
def _confidence(value: Any) -> int:
    try:
        number = read_number(value) or Decimal(0)
    except ValueError:
        return 0
    if number > 1:
        number /= 100
    return int(number.scaleb(4).to_integral_value(ROUND_HALF_EVEN)) if 0 <= number <= 1 else 0


BULK_TABLES: Final = [
    OracleTable(
        name="llm_mappings",
        expected=_mapping,
        raw="transaction_id merchant_name merchant_key ticker category status admin_approved ai_processed company_name "
        "user_id source ai_model_version ai_reasoning ai_auto_approved ai_processing_ms",
        times="created_at ai_decided_at",
        units={4: "confidence"},
        month="created_at",
        # Whether the transaction exists; a mark such as 'bulk_7' is not the number of one.
        extra="EXISTS (SELECT 1 FROM transactions AS t WHERE t.rowid = CAST(CAST(m.transaction_id AS TEXT) AS INTEGER) "
        "AND CAST(m.transaction_id AS TEXT) NOT LIKE 'bulk%')",
        extra_table="transactions",
    )
]
ROW_CHECKS: Final[dict[str, Any]] = {}
