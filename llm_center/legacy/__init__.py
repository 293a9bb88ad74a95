"""The mapping tables' part of the legacy migration; delete it with `transactions/legacy` (see the README there)."""

from transactions.legacy.registry import LegacyTables, register_legacy_tables


def register() -> None:
    """Register the tables; called when Django starts."""
    register_legacy_tables(
        LegacyTables(
            converters="llm_center.legacy.converters",
            oracle="llm_center.legacy.oracle",
            outbox="llm_center.legacy.outbox",
            directory="llm_center.legacy.directory",
        )
    )
