"""Imports can be undone, cancelled and repeated."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles

STATUSES = [
    *("pending", "mapped", "completed", "needs_review", "not_listed", "awaiting_price", "on_hold", "excluded"),
    *("failed", "refunded", "undone"),
]
TASK_STATUSES = ["queued", "running", "completed", "failed", "cancelled"]


class Migration(migrations.Migration):
    atomic = False  # constraints are added while the table is in use

    dependencies = [("transactions", "0009_statement_id")]

    operations = [
        migrations.AddField(
            "statementimport",
            "repeats",
            models.ForeignKey(
                "transactions.statementimport",
                null=True,
                blank=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                db_index=False,
                help_text="The import of the same file that this one replaces.",
            ),
        ),
        migrations.AddField(
            "statementimport",
            "undo_task",
            models.ForeignKey(
                "transactions.backgroundtask",
                null=True,
                blank=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                db_index=False,
            ),
        ),
        migrations.AddField("statementimport", "undone_at", models.DateTimeField(null=True, blank=True)),
        migrations.AddField(
            "statementimport",
            "rows_deleted",
            models.BigIntegerField(default=0, db_default=0, help_text="Removed by the undo: never invested."),
        ),
        migrations.AddField(
            "statementimport",
            "rows_reversed",
            models.BigIntegerField(default=0, db_default=0, help_text="Reversed in the ledger by the undo."),
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
                    ("undone", "undone with its import"),
                ],
            ),
        ),
        migrations.RemoveConstraint("transaction", "transactions_status_known"),
        AddConstraintNotValid(
            "transaction",
            models.CheckConstraint(condition=models.Q(status__in=STATUSES), name="transactions_status_known"),
        ),
        ValidateConstraint("transaction", "transactions_status_known"),
        migrations.RemoveConstraint("transaction", "transactions_excluded_invests_nothing"),
        AddConstraintNotValid(
            "transaction",
            models.CheckConstraint(
                condition=~models.Q(status__in=["excluded", "undone"]) | models.Q(investable=0, round_up=0, fee=0),
                name="transactions_excluded_invests_nothing",
            ),
        ),
        ValidateConstraint("transaction", "transactions_excluded_invests_nothing"),
        migrations.AlterField(
            "backgroundtask",
            "status",
            models.CharField(
                max_length=10,
                default="queued",
                choices=[
                    ("queued", "Queued"),
                    ("running", "Running"),
                    ("completed", "Completed"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                ],
            ),
        ),
        migrations.RemoveConstraint("backgroundtask", "background_tasks_status_known"),
        AddConstraintNotValid(
            "backgroundtask",
            models.CheckConstraint(condition=models.Q(status__in=TASK_STATUSES), name="background_tasks_status_known"),
        ),
        ValidateConstraint("backgroundtask", "background_tasks_status_known"),
        seed_roles({"operator": ["transactions.change_statementimport"]}),
    ]
