"""Seals of the books, made every night."""

from django.db import migrations, models

from kamioi_site.db.seed import seed_roles, seed_schedule


class Migration(migrations.Migration):
    dependencies = [("transactions", "0014_double_entry")]

    operations = [
        migrations.CreateModel(
            name="LedgerSeal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(unique=True)),
                ("rows", models.BigIntegerField()),
                ("sums", models.JSONField(help_text="Account → debits less credits of the day, dollars as text.")),
                (
                    "balances",
                    models.JSONField(
                        help_text="Account → debits less credits up to the end of the day, dollars as text."
                    ),
                ),
                ("holdings", models.DecimalField(decimal_places=8, max_digits=60)),
                ("cost", models.DecimalField(decimal_places=2, max_digits=60)),
                ("digest", models.CharField(help_text="SHA-256 over the day's ledger rows.", max_length=64)),
                ("events", models.BigIntegerField(help_text="Audit events up to the end of the day.")),
                ("last_event_id", models.BigIntegerField(help_text="The newest of them.")),
                ("events_digest", models.CharField(help_text="SHA-256 over the day's audit events.", max_length=64)),
                (
                    "chain",
                    models.CharField(
                        help_text="SHA-256 over the chain of the day before and this seal.", max_length=64
                    ),
                ),
                ("sealed_at", models.DateTimeField()),
            ],
            options={"db_table": "ledger_seals"},
        ),
        seed_roles({"finance": ["transactions.view_ledgerseal"]}),
        seed_schedule({"seal_ledger": ("20 0,1,2,3 * * *", {"expire_seconds": 3000})}),
    ]
