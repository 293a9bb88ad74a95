"""Verified e-mail addresses and their change, the version of the terms, purchases on hold."""

import django.db.models.functions.datetime
import django.utils.timezone
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models

from kamioi_site.db.seed import seed_schedule

STATUSES = [
    *("pending", "mapped", "completed", "needs_review", "not_listed", "awaiting_price", "on_hold", "failed", "refunded")
]


class Migration(migrations.Migration):
    atomic = False  # an index and constraints are added while the tables are in use

    dependencies = [("transactions", "0002_session_generation")]

    operations = [
        # The default is evaluated once, so existing customers are verified without rewriting the table.
        migrations.AddField(
            "user",
            "email_verified_at",
            models.DateTimeField(
                "e-mail verified at",
                null=True,
                default=django.utils.timezone.now,
                db_default=django.db.models.functions.datetime.Now(),
            ),
        ),
        migrations.AddField(
            "user",
            "pending_email",
            models.EmailField("new e-mail", max_length=254, blank=True, default="", db_default=""),
        ),
        migrations.AddField(
            "user",
            "pending_email_verified_at",
            models.DateTimeField("new e-mail verified at", null=True, editable=False),
        ),
        migrations.AddField(
            "user", "email_change_at", models.DateTimeField("e-mail changes at", null=True, editable=False)
        ),
        migrations.AddField(
            "user", "terms_version", models.CharField(max_length=20, blank=True, default="", db_default="")
        ),
        AddIndexConcurrently(
            "user",
            models.Index(
                fields=["email_change_at"],
                name="idx_users_email_change",
                condition=models.Q(pending_email_verified_at__isnull=False),
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
                condition=~models.Q(status="on_hold") | ~models.Q(failure_reason=""),
                name="transactions_on_hold_has_reason",
            ),
        ),
        ValidateConstraint("transaction", "transactions_on_hold_has_reason"),
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
                    ("failed", "Failed"),
                    ("refunded", "refund, nothing invested"),
                ],
            ),
        ),
        seed_schedule({"apply_due_email_changes": ("*/10 * * * *", {"expire_seconds": 600})}),
    ]
