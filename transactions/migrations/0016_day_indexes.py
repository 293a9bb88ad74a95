"""Indexes that find the rows of a day to be sealed."""

from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations

from kamioi_site.db.indexes import AddIndexByPartition


class Migration(migrations.Migration):
    atomic = False  # the indexes are built while the tables are in use

    dependencies = [("transactions", "0015_ledger_seals")]

    operations = [
        AddIndexByPartition(
            "ledgertransfer", BrinIndex(fields=["created_at"], name="idx_ledger_transfers_created", autosummarize=True)
        ),
        AddIndexConcurrently("auditevent", BrinIndex(fields=["at"], name="idx_audit_events_at", autosummarize=True)),
    ]
