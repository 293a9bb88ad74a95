"""Mappings as dual-write writes them to the legacy file."""

from typing import Final

from transactions.legacy.sync.outbox_tables import (
    LegacyFileWriter,
    OutboxTable,
    Row,
    legacy_time,
    legacy_user,
    write_by_id,
)


def _write_mapping(writer: LegacyFileWriter, table: OutboxTable, key: str, row: Row | None) -> None:
    if row is not None and row.pop("source") == "bulk":
        # The legacy row already has the mark of the upload.
        row = {name: value for name, value in row.items() if name not in ("transaction_id", "user_id")}
    write_by_id(writer, table, key, row)


OUTBOX_TABLES: Final = [
    OutboxTable(
        name="llm_mappings",
        legacy="llm_mappings",
        write=_write_mapping,
        sql=f"""
            SELECT id::text AS row_key, id, transaction_id, merchant_name, ticker, category, confidence::float8, status,
                   CASE WHEN status = 'rejected' THEN -1 WHEN admin_approved THEN 1 ELSE 0 END AS admin_approved,
                   ai_processed::int, company_name, {legacy_user("llm_mappings.user_id")}::text AS user_id,
                   {legacy_time("created_at")} AS created_at, ai_model_version, ai_reasoning, ai_auto_approved::int,
                   ai_processing_ms AS ai_processing_duration, {legacy_time("ai_decided_at")} AS ai_decision_timestamp,
                   source
            FROM llm_mappings WHERE id = ANY (%s::bigint[])""",
    )
]
