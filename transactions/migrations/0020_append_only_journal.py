"""Drafts and reversals of journal entries in tables of their own, so that posted entries are only added."""

from decimal import Decimal

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles
from kamioi_site.db.sql_migrations import RunSQLFile

VIEW = ("transactions.view_journaldraft",)


def staff(**options):
    return models.ForeignKey(
        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL, **options
    )


def changed_by():
    return staff(blank=True, null=True, help_text="Who last changed the draft.")


class Migration(migrations.Migration):
    dependencies = [("transactions", "0019_fixed_amounts")]

    operations = [
        migrations.CreateModel(
            name="JournalDraft",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("entry_date", models.DateField()),
                ("reference", models.CharField(blank=True, max_length=100)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("location", models.CharField(blank=True, max_length=100)),
                ("department", models.CharField(blank=True, max_length=100)),
                ("transaction_type", models.CharField(blank=True, max_length=50)),
                ("vendor_name", models.CharField(blank=True, max_length=200)),
                ("customer_name", models.CharField(blank=True, max_length=200)),
                (
                    "amount",
                    models.DecimalField(decimal_places=2, help_text="Sum of the debits, in dollars.", max_digits=14),
                ),
                ("lines", models.JSONField(help_text="[{account_code, debit, credit, description}], dollars as text.")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("created_by", staff()),
                ("changed_by", changed_by()),
            ],
            options={
                "db_table": "journal_drafts",
                "indexes": [models.Index(fields=["-entry_date", "-id"], name="idx_journal_drafts_date")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", Decimal(0))), name="journal_drafts_amount_positive"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="JournalReversal",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="reversal",
                        serialize=False,
                        to="transactions.journalentry",
                    ),
                ),
                ("reversed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("reversed_by", staff()),
            ],
            options={"db_table": "journal_reversals"},
        ),
        migrations.AddField(model_name="journalentry", name="changed_by", field=changed_by()),
        migrations.AddField(
            model_name="journalentry",
            name="posted_by",
            field=staff(blank=True, null=True, help_text="Empty if the entry was posted before this was recorded."),
        ),
        migrations.RemoveConstraint(model_name="journalentry", name="journal_entries_status_fits_times"),
        RunSQLFile(__file__, "0020_append_only_journal.sql"),
        migrations.RemoveField(model_name="journalentry", name="status"),
        migrations.RemoveField(model_name="journalentry", name="reversed_at"),
        migrations.RemoveField(model_name="journalentry", name="reversed_by"),
        migrations.AlterField(
            model_name="journalentry", name="posted_at", field=models.DateTimeField(default=django.utils.timezone.now)
        ),
        migrations.AlterField(
            model_name="journalentry",
            name="id",
            field=models.BigIntegerField(
                help_text="The id of the draft.", primary_key=True, serialize=False, verbose_name="ID"
            ),
        ),
        seed_roles({"admin": VIEW, "finance": VIEW}),
    ]
