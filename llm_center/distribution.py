"""Distribution of this app's tables on Citus (`manage.py distribute`)."""

from kamioi_site.db.distribution import Distribution

DISTRIBUTION = Distribution(
    distributed={"llm_mappings": "id"},
    local={
        "mapping_decisions": "one row per decision, which settles all purchases of a merchant",
        "pending_decisions": "one row per merchant that waits for a second approval",
        "proposal_claims": "one row per merchant whose proposal is being requested",
        "mapping_deltas": "emptied by every refresh of the rollups, in one process",
        "mapping_imports": "one row per file",
        "mapping_import_keys": "stored with its file",
        "mapping_import_rejects": "stored with its file",
        "catalogue_brands": "a few thousand rows, cached in memory by every process",
        "calibration_fits": "one row per fit",
        "llm_calls": "one row per model request, which covers many merchants",
        "llm_data_assets": "one row per asset",
        "llm_asset_events": "one row per event of an asset",
        "amortization_entries": "one row per asset and month",
        "amortization_reversals": "one row per reversed charge",
    },
)
