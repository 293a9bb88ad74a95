"""Every booking knows the decision that it follows."""

from django.db import migrations, models

from kamioi_site.db.indexes import AddIndexByPartition, NamedIndex


class Migration(migrations.Migration):
    atomic = False  # the index is built while the table is in use

    dependencies = [("transactions", "0020_append_only_journal")]

    operations = [
        migrations.AddField(
            "merchant",
            "decision_id",
            models.BigIntegerField(
                "decision",
                null=True,
                blank=True,
                help_text="The current decision in `mapping_decisions`; empty if none is recorded there.",
            ),
        ),
        migrations.AddField(
            "transaction",
            "decision_id",
            models.BigIntegerField(
                "decision",
                null=True,
                blank=True,
                help_text="The decision on the merchant by which this row was settled.",
            ),
        ),
        AddIndexByPartition(
            "transaction",
            NamedIndex(
                fields=["merchant_key", "decision_id"],
                name="idx_transactions_decided",
                condition=models.Q(status__in=["completed", "mapped", "awaiting_price", "not_listed"]),
            ),
        ),
        migrations.DeleteModel("ReleasedTransaction"),
    ]
