"""Refunds without a purchase, to be matched."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles

# Refunds from before are matched once, by the sweep.
LIST_REFUNDS = """
    INSERT INTO unmatched_refunds (transaction_id, user_id, date, merchant_key, amount)
    SELECT id, user_id, date, merchant_key, amount FROM transactions WHERE status = 'refunded' AND source <> 'legacy'
    ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("transactions", "0012_possible_duplicates")]

    operations = [
        migrations.CreateModel(
            name="UnmatchedRefund",
            fields=[
                ("transaction_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("date", models.DateTimeField()),
                ("merchant_key", models.CharField(max_length=120)),
                ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                (
                    "is_checked",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="False until matched again: it is new, or a purchase came later.",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "unmatched_refunds",
                "verbose_name": "refund without purchase",
                "verbose_name_plural": "refunds without purchase",
                "indexes": [
                    models.Index(fields=["user", "merchant_key"], name="idx_unmatched_refunds_user"),
                    models.Index(
                        condition=models.Q(("is_checked", False)), fields=["user"], name="idx_unmatched_refunds_open"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__lt", 0)), name="unmatched_refunds_amount_negative"
                    )
                ],
            },
        ),
        migrations.AlterField(
            "transaction",
            "related_id",
            models.BigIntegerField(
                "related purchase",
                null=True,
                blank=True,
                help_text="The purchase that this row refunds or probably repeats; of a refunded purchase, its refund.",
            ),
        ),
        seed_roles({role: ["transactions.view_unmatchedrefund"] for role in ("finance", "operator")}),
        migrations.RunSQL(LIST_REFUNDS, migrations.RunSQL.noop),
    ]
