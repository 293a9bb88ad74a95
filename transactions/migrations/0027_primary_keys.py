"""Two indexes less: the primary keys list a customer's transactions and the days of the ledger."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations

from kamioi_site.db.indexes import AddIndexByPartition
from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0026_corrections")]

    operations = [
        AddIndexByPartition(
            "ledgertransfer",
            BrinIndex(fields=["created_at", "id"], name="idx_ledger_transfers_stored", autosummarize=True),
        ),
        AddIndexByPartition("transaction", BrinIndex(fields=["id"], name="idx_transactions_id", autosummarize=True)),
        RunSQLFile(__file__, "0027_primary_keys.sql"),
        migrations.RemoveIndex("ledgertransfer", "idx_ledger_transfers_created"),
        migrations.RemoveIndex("ledgertransfer", "idx_ledger_transfers_date"),
        migrations.RemoveIndex("transaction", "idx_transactions_user_id_date"),
    ]
