"""Users, transactions, money rules, prices, ledger, holdings and notifications."""

from django.apps import AppConfig


class TransactionsConfig(AppConfig):
    """Customers, purchases, and the shares bought with their round-ups."""

    name = "transactions"

    def ready(self) -> None:
        """Connect the audit trail to log-ins, the end of access to second factors, and legacy reads to their flag."""
        from transactions import audit  # noqa: PLC0415  # needs the models
        from transactions.legacy import legacy_reads  # noqa: PLC0415
        from transactions.services import access, email_addresses  # noqa: F401, PLC0415  # their receivers

        audit.connect()
        legacy_reads.install()
