"""How the tables of analytics are distributed on Citus (`manage.py distribute`)."""

from kamioi_site.db.distribution import Distribution

DISTRIBUTION = Distribution(
    local=dict.fromkeys(
        ("transaction_days", "mapping_days", "decision_days", "ledger_days", "llm_analytics_summary"),
        "a row per day and kind, written by one refresh",
    )
    | {
        "customer_months": "a row per customer and month, written by one refresh",
        "customer_counts": "a row per month and account type",
        "ledger_marks": "one row",
        "rollup_partitions": "a row per partition",
        "reports": "a row per report file",
    }
)
