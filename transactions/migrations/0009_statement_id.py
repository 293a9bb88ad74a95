"""Which import stored a transaction, and which purchase a transaction is related to."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0008_request_fingerprints")]

    operations = [
        migrations.AddField(
            "transaction",
            "statement_id",
            models.BigIntegerField("import", null=True, blank=True, help_text="The import that stored this row."),
        ),
        migrations.AddField(
            "transaction",
            "related_id",
            models.BigIntegerField(
                "related purchase",
                null=True,
                blank=True,
                help_text="The purchase that this row refunds or probably repeats.",
            ),
        ),
        migrations.AddField("statementimport", "first_date", models.DateTimeField(null=True, blank=True)),
        migrations.AddField("statementimport", "last_date", models.DateTimeField(null=True, blank=True)),
    ]
