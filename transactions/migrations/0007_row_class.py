"""What a row of a bank file is; rows that are neither purchase nor refund are excluded."""

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models

STATUSES = [
    *("pending", "mapped", "completed", "needs_review", "not_listed", "awaiting_price", "on_hold", "excluded"),
    *("failed", "refunded"),
]
CLASSES = [
    ("", "purchase or refund"),
    ("transfer", "transfer"),
    ("card_payment", "card payment"),
    ("deposit", "deposit"),
    ("interest", "interest"),
    ("fee", "fee"),
    ("cash", "cash"),
]


class Migration(migrations.Migration):
    atomic = False  # constraints are added while the table is in use

    dependencies = [("transactions", "0006_statement_answers")]

    operations = [
        migrations.AddField(
            "transaction",
            "row_class",
            models.CharField("class", max_length=16, blank=True, default="", db_default="", choices=CLASSES),
        ),
        migrations.AlterField(
            "transaction",
            "status",
            models.CharField(
                max_length=16,
                default="pending",
                choices=[
                    ("pending", "pending"),
                    ("mapped", "awaiting market open"),
                    ("completed", "Completed"),
                    ("needs_review", "awaiting review"),
                    ("not_listed", "no listed company"),
                    ("awaiting_price", "awaiting price"),
                    ("on_hold", "on hold"),
                    ("excluded", "not a purchase"),
                    ("failed", "Failed"),
                    ("refunded", "refund, nothing invested"),
                ],
            ),
        ),
        migrations.RemoveConstraint("transaction", "transactions_status_known"),
        AddConstraintNotValid(
            "transaction",
            models.CheckConstraint(condition=models.Q(status__in=STATUSES), name="transactions_status_known"),
        ),
        ValidateConstraint("transaction", "transactions_status_known"),
        AddConstraintNotValid(
            "transaction",
            models.CheckConstraint(
                condition=~models.Q(status="excluded") | models.Q(investable=0, round_up=0, fee=0),
                name="transactions_excluded_invests_nothing",
            ),
        ),
        ValidateConstraint("transaction", "transactions_excluded_invests_nothing"),
    ]
