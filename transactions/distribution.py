"""Placement of the tables on Citus (`manage.py distribute`)."""

from kamioi_site.db.distribution import Distribution

DISTRIBUTION = Distribution(
    reference=["users", "companies", "stock_prices", "ledger_accounts", "admin_settings", "merchants", "platform_fees"],
    distributed={
        "transactions": "user_id",
        "transaction_keys": "user_id",
        "unmatched_refunds": "user_id",
        "ledger_transfers": "user_id",
        "holdings": "user_id",
        "notifications": "user_id",
        "orders": "user_id",
        "released_transactions": "user_id",
        "idempotency_keys": "user_id",
        "goals": "user_id",
        "user_settings": "user_id",
    },
    local={
        "users_groups": "staff only",
        "users_user_permissions": "staff only",
        "api_tokens": "looked up by digest, without a user; one row per login",
        "audit_events": "one row per action of staff, protected by a trigger",
        "background_tasks": "one row per long-running action, looked up by id",
        "broker_positions": "one row per company",
        "bank_accounts": "a few rows per customer, read once per file",
        "import_profiles": "a few rows per customer, read once per file",
        "statement_imports": "one row per file",
        "statement_rejects": "one row per unreadable line, next to its file",
        "statement_fingerprints": "working data of running imports",
        "transaction_deltas": "consumed by the refresh of rollups, in one process",
        "journal_entries": "one row per manual entry",
        "ledger_seals": "one row per day",
        "migration_runs": "one row per run",
        "migration_rejects": "read once, by the migration",
        "legacy_rows": "of the legacy system, rarely read",
        "legacy_ids": "of the legacy system, rarely read",
        "legacy_progress": "one row per table of the legacy system",
        "legacy_source": "one row",
        "legacy_outbox": "emptied by dual-write, which ends before tables are distributed",
    },
    functions=[
        "kamioi_shares(numeric,numeric)",
        "kamioi_round_up(numeric,boolean,text,integer)",
        "kamioi_fee(numeric,numeric,numeric)",
        "kamioi_similar_merchants(text,text)",
    ],
)
