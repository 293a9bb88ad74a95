"""How long the rows of this app are kept (`kamioi_site.db.retention`)."""

from kamioi_site.db.retention import Retention

RETENTION = Retention(
    kept={
        **dict.fromkeys(
            (
                "transaction_days",
                "mapping_days",
                "decision_days",
                "ledger_days",
                "ledger_marks",
                "customer_months",
                "customer_counts",
                "rollup_partitions",
            ),
            "totals, which replace the rows",
        ),
        "reports": "statements that customers got, and finance reports",
    }
)
