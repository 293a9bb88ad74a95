"""Purchases that two sources have: the list of those that wait for a decision, and the likeness of merchants."""

from django.db import migrations, models

from kamioi_site.db.indexes import AddIndexByPartition, NamedIndex
from kamioi_site.db.seed import seed_roles
from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    atomic = False  # the index is built while the table is in use

    dependencies = [("transactions", "0011_bank_accounts")]

    operations = [
        RunSQLFile(__file__, "0012_similar_merchants.sql"),
        AddIndexByPartition(
            "transaction",
            NamedIndex(
                fields=["user", "-date", "-id"],
                name="idx_transactions_duplicates",
                condition=models.Q(status="on_hold", related_id__isnull=False),
            ),
        ),
        migrations.CreateModel(
            name="PossibleDuplicate",
            fields=[],
            options={"verbose_name": "possible duplicate", "proxy": True, "indexes": [], "constraints": []},
            bases=("transactions.transaction",),
        ),
        seed_roles(
            {
                role: ["transactions.change_possibleduplicate", "transactions.view_possibleduplicate"]
                for role in ("operator", "admin")
            }
        ),
    ]
