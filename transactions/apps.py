"""Users, transactions, money rules, prices, ledger, holdings and notifications."""

from django.apps import AppConfig


class TransactionsConfig(AppConfig):
    """The room where purchases become shares."""

    name = "transactions"

    def ready(self) -> None:
        """Listen to log-ins for the audit trail, and to the flag of the migration."""
        from transactions import audit  # noqa: PLC0415  # it needs the models
        from transactions.legacy import reads  # noqa: PLC0415

        audit.connect()
        reads.connect()
