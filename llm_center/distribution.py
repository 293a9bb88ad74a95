"""Where the tables of this room go on Citus (`manage.py distribute`)."""

from kamioi_site.db.distribution import Distribution

DISTRIBUTION = Distribution(
    distributed={"llm_mappings": "id"},
    local={
        "mapping_decisions": "a row a decision; one settles every purchase of a merchant",
        "pending_decisions": "a row a merchant that waits for a second opinion",
        "proposal_claims": "a row a merchant that is asked about now",
        "mapping_deltas": "emptied by every refresh of the figures, which one process does",
        "mapping_imports": "a row a file",
        "mapping_import_keys": "beside its file",
        "mapping_import_rejects": "beside its file",
        "catalogue_brands": "a few thousand rows, kept in memory by every process",
        "calibration_fits": "a row a fit",
        "llm_calls": "a row a request to a model, which is asked about merchants, not about purchases",
        "llm_data_assets": "a row an asset",
        "llm_asset_events": "a row an event of an asset",
        "amortization_entries": "a row an asset and month",
    },
)
