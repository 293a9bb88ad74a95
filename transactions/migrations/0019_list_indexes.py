"""An index for each filter of the lists of staff, built while the tables are in use.

What it costs beside the table is said in docs/scaling.md. It can be run again after an interruption.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

from kamioi_site.db.indexes import AddIndexByPartition, NamedIndex, WidenIndexByPartition

_LISTED = Q(ticker__isnull=False)
_UNUSUAL = ~Q(kind__in=("round_up", "fee", "purchase"))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("transactions", "0018_task_versions")]

    operations = [
        WidenIndexByPartition(
            "transaction",
            NamedIndex(fields=["status"], name="idx_transactions_status"),
            NamedIndex(fields=["status", "-date", "-id"], name="idx_transactions_status"),
        ),
        WidenIndexByPartition(
            "transaction",
            NamedIndex(fields=["ticker"], name="idx_transactions_ticker", condition=_LISTED),
            NamedIndex(fields=["ticker", "-date", "-id"], name="idx_transactions_ticker", condition=_LISTED),
        ),
        AddIndexByPartition("ledgertransfer", NamedIndex(fields=["-date", "-id"], name="idx_ledger_transfers_date")),
        AddIndexByPartition(
            "ledgertransfer",
            NamedIndex(fields=["-date", "-id"], name="idx_ledger_transfers_unusual", condition=_UNUSUAL),
        ),
        *(
            AddIndexConcurrently(model, index)
            for model, index in (
                ("order", models.Index(fields=["-id"], name="idx_orders_cancelled", condition=Q(status="cancelled"))),
                ("merchant", models.Index(fields=["status", "-id"], name="idx_merchants_status")),
                ("merchant", models.Index(fields=["source", "-id"], name="idx_merchants_source")),
                ("user", models.Index(fields=["account_type", "-id"], name="idx_users_account_type")),
                ("user", models.Index(fields=["-id"], name="idx_users_staff", condition=Q(is_staff=True))),
                ("user", models.Index(fields=["-id"], name="idx_users_inactive", condition=Q(is_active=False))),
                ("auditevent", models.Index(fields=["kind", "-id"], name="idx_audit_events_kind")),
                (
                    "backgroundtask",
                    models.Index(fields=["status", "-created_at", "-id"], name="idx_background_tasks_status"),
                ),
            )
        ),
    ]
