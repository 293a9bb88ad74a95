"""How long the rows of this app are kept (`kamioi_site.db.retention`)."""

from kamioi_site.db.retention import Retention

RETENTION = Retention(
    kept={
        **dict.fromkeys(
            ("llm_data_assets", "llm_asset_events", "amortization_entries", "amortization_reversals"), "the books"
        ),
        "llm_mappings": "why a merchant has its company; old months can be detached",
        "mapping_decisions": "who decided what",
        "llm_calls": "cost by month",
        "calibration_fits": "a few rows a night",
        "catalogue_brands": "one row per brand",
        "mapping_imports": "history of imports; their files expire",
    },
    removed={
        "pending_decisions": "by the second reviewer",
        "proposal_claims": "`process_llm_queue`, with the proposal",
        "mapping_import_keys": "`import_mappings`, at its end",
        "mapping_import_rejects": "`expire_uploads`, after `upload_expiry_days`",
        "mapping_deltas": "`calculate_analytics`, every hour",
    },
)
