"""Where the tables of this room go on Citus (`manage.py distribute`)."""

from kamioi_site.db.distribution import Distribution

DISTRIBUTION = Distribution(
    local=dict.fromkeys(
        ("transaction_days", "mapping_days", "decision_days", "ledger_days", "llm_analytics_summary"),
        "a row a day and kind, written by the one refresh",
    )
    | {
        "customer_months": "a row a customer and month, written by the one refresh",
        "customer_counts": "a row a month and kind of account",
        "ledger_marks": "one row",
        "rollup_partitions": "a row a partition",
        "reports": "a row a report, beside its file",
    }
)
