"""Legacy mappings as rows of `llm_mappings`, column by column, and LLM assets row by row."""

from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llm_center.models import LlmMapping
from transactions.legacy.convert import values
from transactions.legacy.convert.arrow_columns import (
    Batch,
    Ints,
    Layout,
    Mask,
    as_mask,
    decimals,
    half_even,
    kinds,
    timestamps,
)
from transactions.legacy.convert.bulk_converters import (
    HISTORY,
    BulkTable,
    ConversionContext,
    both,
    differs_from,
    first_timestamp,
    keep_extra,
    lowered,
    not_blank,
    other_than,
    tickers,
)
from transactions.legacy.convert.row_converters import Row, RowConverter, RowRejectedError, insert_sql

_APPROVED: Final = frozenset({"approved", "auto-approved", "applied"})
_STATUSES: Final = _APPROVED | {"pending", "pending-approval", "rejected"}
_MAX_INT: Final = 2**31 - 1

LAYOUT: Final = Layout(
    name="llm_mappings",
    kinds=kinds(
        int="id transaction_id ai_processing_duration usage_count",
        bool="admin_approved ai_processed ai_attempted ai_auto_approved",
        real="confidence ai_confidence",
        time="created_at processed_at ai_processing_time ai_decision_timestamp",
        text="merchant_name ticker category status company_name user_id dashboard_type ai_status ai_reasoning "
        "ai_model_version suggested_ticker source_type receipt_id mapping_data admin_id method evidence",
    ),
    extra={
        "dashboard_type": other_than("dashboard_type", "individual"),
        "ai_attempted": differs_from("ai_attempted", "ai_processed"),
        "ai_status": differs_from("ai_status", "status", lowered),
        "ai_confidence": both(differs_from("ai_confidence", "confidence"), other_than("ai_confidence", 0.0)),
        "suggested_ticker": differs_from("suggested_ticker", "ticker"),
        "source_type": other_than("source_type", "system"),
        "usage_count": other_than("usage_count", 0, 1),
        **not_blank("processed_at ai_processing_time receipt_id mapping_data admin_id method evidence"),
    },
)


def convert_mappings(batch: Batch, context: ConversionContext) -> pa.Table:
    """Return the batch as rows of `llm_mappings`, without rejected rows."""
    merchants = batch.filled("merchant_name", 255)
    batch.reject("no merchant", as_mask(pc.equal(pc.utf8_trim_whitespace(merchants), "")))
    created, no_created = first_timestamp(
        batch, ["created_at", "ai_decision_timestamp", "processed_at", "ai_processing_time"], context.now
    )
    batch.reject("no readable date", no_created)
    decided, no_decided = batch.timestamps("ai_decision_timestamp")

    is_bulk = _bulk_marks(batch)
    links, no_link = batch.integers("transaction_id")
    _, link_gone = context.transactions_of(batch).translate(links)
    batch.repaired("transaction gone", link_gone & ~no_link, "transaction_id")
    decision = _decisions(batch)
    users, no_user = _users(batch, context, is_bulk)
    took, no_took = batch.integers("ai_processing_duration")
    no_took = no_took | (took < 0) | (took > _MAX_INT)
    keep_extra(batch, LAYOUT)
    return batch.accepted(
        {
            "id": pa.array(batch.rowids),
            "transaction_id": pa.array(links, mask=no_link | link_gone),
            "merchant_name": merchants,
            "merchant_key": context.keys.of(merchants),
            "ticker": tickers(batch, "ticker"),
            "category": batch.filled("category", 100),
            "confidence": decimals(_confidence(batch), None, 4, precision=5),
            "status": pa.array(["rejected", "pending", "approved"]).take(pa.array(decision + 1)),
            "admin_approved": pa.array(decision == 1),
            "ai_processed": pa.array(batch.booleans("ai_processed") == 1),
            "company_name": batch.filled("company_name", 200),
            "source": pc.if_else(pa.array(is_bulk), "bulk", HISTORY),
            "created_at": timestamps(created),
            "ai_model_version": batch.filled("ai_model_version", 100),
            "ai_reasoning": pc.fill_null(batch.texts("ai_reasoning"), ""),
            "ai_auto_approved": pa.array(batch.booleans("ai_auto_approved") == 1),
            "ai_processing_ms": pa.array(np.where(no_took, 0, took).astype(np.int32), mask=no_took),
            "ai_decided_at": timestamps(decided, no_decided),
            "user_id": pa.array(users, mask=no_user),
        }
    )


def _bulk_marks(batch: Batch) -> Mask:
    """Return the rows whose transaction id is the mark of an administrator's upload."""
    is_bulk = np.zeros(len(batch), np.bool_)
    for position, mark in batch.unread["transaction_id"].items():
        is_bulk[position] = values.stripped(mark).lower().startswith("bulk_")
    # Reading the mark as a number failed, and was counted as that.
    batch.repairs["number"] -= int(is_bulk.sum())
    batch.repaired("bulk", is_bulk, "transaction_id", "user_id")
    return is_bulk


def _decisions(batch: Batch) -> Ints:
    """Return 1 approved, 0 pending, -1 rejected; see the rule "approval"."""
    results = batch.mapped("status", _status)
    by_status = np.array([decision for decision, _ in results], np.int64)
    by_flag = batch.booleans("admin_approved")
    batch.repaired("status", np.array([repaired for _, repaired in results], np.bool_))
    batch.repaired("approval", by_flag != by_status)
    rejected, approved = (by_flag == -1) | (by_status == -1), (by_flag == 1) | (by_status == 1)
    return np.where(rejected, -1, np.where(approved, 1, 0))


def _status(text: str | None) -> tuple[int, bool]:
    """Return (decision, whether the status was repaired)."""
    word = (text or "").strip().lower().replace("_", "-")
    decision = 1 if word in _APPROVED else -1 if word == "rejected" else 0
    return decision, word != (text or "") or word not in _STATUSES


def _users(batch: Batch, context: ConversionContext, is_bulk: Mask) -> tuple[Ints, Mask]:
    """Return (user ids, NULL mask)."""
    legacy = np.array(batch.mapped("user_id", _user_id), np.int64)
    users, unknown = context.users.translate(legacy)
    batch.repaired("user_id", (legacy == -1) & ~is_bulk, "user_id")
    batch.repaired("user gone", unknown & (legacy >= 0) & ~is_bulk, "user_id")
    return users, unknown | is_bulk


def _user_id(text: str | None) -> int:
    """Return the id; -1 for text that is not one, -2 for NULL."""
    digits = (text or "").strip().removesuffix(".0")
    if digits.isascii() and digits.isdigit() and len(digits) < 19:
        return int(digits)
    return -2 if text is None else -1


def _confidence(batch: Batch) -> Ints:
    """Return ten-thousandths between 0 and 10,000; see the rule "confidence"."""
    numbers = pc.fill_null(batch.column("confidence"), 0.0).to_numpy(zero_copy_only=False)
    is_percent = numbers > 1
    invalid = ~((numbers >= 0) & (numbers <= 100))
    batch.repaired("confidence", is_percent & ~invalid)
    batch.repaired("confidence", invalid, "confidence")
    numbers = np.where(invalid, 0.0, numbers)
    return np.where(is_percent & ~invalid, half_even(numbers, 2), half_even(np.where(is_percent, 0.0, numbers), 4))


BULK_TABLES: Final = [
    BulkTable(
        layout=LAYOUT,
        model=LlmMapping,
        convert=convert_mappings,
        delete_sql="""
            DELETE FROM llm_mappings WHERE id = ANY (%s::bigint[]) AND source IN ('legacy', 'bulk') RETURNING *""",
        count_sql="""
            INSERT INTO mapping_deltas (day, status, source, automatic, rows, confidence, writes)
            SELECT (created_at AT TIME ZONE 'UTC')::date, status, source, ai_auto_approved, {sign} count(*),
                   {sign} sum(confidence), count(*)
            FROM written GROUP BY 1, 2, 3, 4""",
        becomes="llm_mappings, and the directory `merchants`",
        links="transaction_id",
    )
]


_INSERT_ASSETS: Final = insert_sql(
    "llm_data_assets",
    "asset_name text, asset_type text, status text, cost_basis numeric, current_value numeric, "
    "useful_life_months integer, in_service_on date, model_version text, gl_account text, created_at timestamptz, "
    "updated_at timestamptz",
)
_DEFAULT_LIFE_MONTHS: Final = 36


class AssetConverter(RowConverter):
    """LLM assets of both legacy tables; those without a status come as 'development' and are not amortized."""

    becomes = "llm_data_assets, and legacy_rows"
    undo_sql = (
        """
        DELETE FROM llm_data_assets WHERE id IN (
            SELECT min(asset.id) FROM legacy_rows
            JOIN llm_data_assets AS asset ON asset.asset_name = data->>'asset_name'
            WHERE source_table = %(table)s AND legacy_id = ANY (%(ids)s) GROUP BY legacy_id
        ) AND NOT EXISTS (SELECT FROM amortization_entries WHERE asset_id = llm_data_assets.id)""",
    )

    def convert_row(self, legacy_id: str, row: Row) -> None:
        """Take the training cost as the cost basis."""
        try:
            cost = max(self.cents(row.get("training_cost")), 0)
            value = max(self.cents(row.get("current_value")), 0)
            life = values.integer(row.get("useful_life_months")) or _DEFAULT_LIFE_MONTHS
        except values.UnreadableError as error:
            raise RowRejectedError("unreadable: no amount") from error
        ready = self.timestamp(row, "production_ready_date")
        created = (self.timestamp(row, "created_at", "development_start_date") or self.now).isoformat()
        self.add(
            _INSERT_ASSETS,
            asset_name=self.text(row, "asset_name", 200),
            asset_type=self.text(row, "asset_type", 30),
            status=self.text(row, "status", 20, "development"),
            cost_basis=str(Decimal(cost).scaleb(-2)),
            current_value=str(Decimal(value).scaleb(-2)),
            useful_life_months=life if 1 <= life <= 32767 else _DEFAULT_LIFE_MONTHS,
            in_service_on=ready.date().isoformat() if ready else None,
            model_version=self.text(row, "model_version", 100),
            gl_account=self.text(row, "gl_account", 10, "15200"),
            created_at=created,
            updated_at=created,
        )


ROW_CONVERTERS: Final = dict.fromkeys(("llm_data_assets", "llm_assets"), AssetConverter)
