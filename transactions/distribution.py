"""Where the tables of this room go on Citus (`manage.py distribute`)."""

from kamioi_site.db.distribution import Distribution

DISTRIBUTION = Distribution(
    reference=["users", "companies", "stock_prices", "ledger_accounts", "admin_settings", "merchants"],
    distributed={
        "transactions": "user_id",
        "transaction_keys": "user_id",
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
        "api_tokens": "found by digest, without a user; a row a log-in",
        "audit_events": "a row an action of staff, guarded by a trigger",
        "background_tasks": "a row a long action, found by id",
        "statement_imports": "a row a file",
        "statement_rejects": "a row an unreadable line, beside its file",
        "statement_fingerprints": "scratch paper of running imports",
        "transaction_deltas": "emptied by every refresh of the figures, which one process does",
        "journal_entries": "a row a manual booking",
        "migration_runs": "a row a run",
        "migration_rejects": "read once, by the migration",
        "legacy_rows": "of the legacy system, read seldom",
        "legacy_ids": "of the legacy system, read seldom",
        "legacy_progress": "a row a table of the legacy system",
        "legacy_source": "one row",
        "legacy_outbox": "emptied by dual-write, which ends before tables are distributed",
    },
    functions=[
        "kamioi_shares(numeric,numeric)",
        "kamioi_cents(numeric)",
        "kamioi_round_up(numeric,boolean,text,integer)",
    ],
)
