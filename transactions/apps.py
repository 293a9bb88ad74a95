"""Users, transactions, money rules, prices, ledger, holdings and notifications."""

from django.apps import AppConfig


class TransactionsConfig(AppConfig):
    """Customers, purchases, and the shares bought with their round-ups."""

    name = "transactions"

    def ready(self) -> None:
        """Connect the audit trail to log-ins, and the services to the signals that they receive."""
        from transactions import audit  # noqa: PLC0415  # needs the models
        from transactions.legacy import legacy_reads  # noqa: PLC0415
        from transactions.services import (  # noqa: PLC0415  # their receivers
            access,  # noqa: F401
            detached_partitions,  # noqa: F401
            email_addresses,  # noqa: F401
        )

        audit.connect()
        legacy_reads.install()
