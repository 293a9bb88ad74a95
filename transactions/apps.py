"""Users, transactions, money rules, prices, ledger, holdings and notifications."""

from django.apps import AppConfig


class TransactionsConfig(AppConfig):
    """The room where purchases become shares."""

    name = "transactions"
