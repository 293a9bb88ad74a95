"""Find the date of a transaction by its id."""

from django.db import migrations, models

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("kamioi_site", "0001_initial"), ("transactions", "0004_uploads")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[RunSQLFile(__file__, "0005_transaction_keys.sql")],
            state_operations=[
                migrations.RemoveField("transactionkey", "id"),
                migrations.AlterField(
                    "transactionkey", "transaction_id", models.BigIntegerField(primary_key=True, serialize=False)
                ),
                migrations.AlterField(
                    "transactionkey",
                    "idempotency_key",
                    models.CharField(max_length=128, null=True, help_text="None for a row of the legacy system."),
                ),
            ],
        )
    ]
