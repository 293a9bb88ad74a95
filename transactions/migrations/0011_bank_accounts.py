"""Bank accounts, remembered answers, and the columns by which purchases are told apart within an account."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles

CLASSES = [
    ("", "purchase or refund"),
    ("transfer", "transfer"),
    ("card_payment", "card payment"),
    ("deposit", "deposit"),
    ("interest", "interest"),
    ("fee", "fee"),
    ("cash", "cash"),
    ("duplicate", "same purchase as another"),
    ("withdrawn", "deleted by the bank"),
]
KINDS = [("checking", "Checking"), ("savings", "Savings"), ("card", "Card"), ("other", "Other")]


class Migration(migrations.Migration):
    dependencies = [("transactions", "0010_undo_statements")]

    operations = [
        migrations.CreateModel(
            name="BankAccount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=KINDS, default="other", max_length=8)),
                ("currency", models.CharField(default="USD", max_length=3)),
                ("last_four", models.CharField(blank=True, default="", max_length=4, verbose_name="last digits")),
                ("name", models.CharField(blank=True, default="", max_length=100)),
                (
                    "digest",
                    models.CharField(
                        editable=False, help_text="Of the bank's number, or of the account's name.", max_length=32
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bank_accounts",
                        to="transactions.user",
                    ),
                ),
            ],
            options={
                "db_table": "bank_accounts",
                "constraints": [models.UniqueConstraint(fields=["user", "digest"], name="bank_accounts_once_per_user")],
            },
        ),
        migrations.CreateModel(
            name="ImportProfile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("layout", models.CharField(help_text="Digest of the headings.", max_length=32)),
                ("answers", models.JSONField(default=dict)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "bank_account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="transactions.bankaccount",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="import_profiles",
                        to="transactions.user",
                    ),
                ),
            ],
            options={
                "db_table": "import_profiles",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["user", "bank_account", "layout"], name="import_profiles_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.AddField(
            "transaction", "bank_account_id", models.BigIntegerField("bank account", null=True, blank=True)
        ),
        migrations.AddField(
            "transaction",
            "bank_reference",
            models.BigIntegerField(null=True, blank=True, help_text="Digest of the bank's id of this row."),
        ),
        migrations.AlterField(
            "transaction",
            "row_class",
            models.CharField("class", max_length=16, blank=True, default="", db_default="", choices=CLASSES),
        ),
        migrations.AddField(
            "statementimport",
            "bank_account",
            models.ForeignKey(
                "transactions.bankaccount",
                null=True,
                blank=True,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                help_text="Of all its rows; empty where the rows name their account, or nothing does.",
            ),
        ),
        migrations.AddField(
            "statementimport", "rows_held", models.BigIntegerField("possible duplicates", default=0, db_default=0)
        ),
        migrations.AddField(
            "statementimport",
            "is_account_chosen",
            models.BooleanField(
                default=False,
                db_default=False,
                help_text="A person chose the account; otherwise the file's name has it.",
            ),
        ),
        migrations.AddField(
            "statementimport",
            "layout",
            models.CharField(max_length=32, blank=True, default="", db_default="", help_text="Digest of the headings."),
        ),
        seed_roles(
            {
                role: ["transactions.view_bankaccount", "transactions.view_importprofile"]
                for role in ("operator", "admin")
            }
        ),
    ]
