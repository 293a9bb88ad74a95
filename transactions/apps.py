"""Users, transactions, money rules, prices, ledger, holdings and notifications."""

from django.apps import AppConfig
from django.db.models.signals import m2m_changed, post_delete, post_save


class TransactionsConfig(AppConfig):
    """The room where purchases become shares."""

    name = "transactions"

    def ready(self) -> None:
        """Listen to log-ins for the audit trail, to the flag of the migration, and to what ends a token."""
        from transactions import audit, cache  # noqa: PLC0415  # they need the models
        from transactions.legacy import reads  # noqa: PLC0415
        from transactions.models import ApiToken, User  # noqa: PLC0415

        audit.connect()
        reads.connect()
        for change in (post_save, post_delete):
            change.connect(cache.user_saved, sender=User, dispatch_uid="answers of a person")
            change.connect(cache.token_saved, sender=ApiToken, dispatch_uid="answers of a token")
        for through in (User.groups.through, User.user_permissions.through):
            m2m_changed.connect(cache.roles_changed, sender=through, dispatch_uid=f"answers by {through.__name__}")
