"""Answers to what an uploaded statement leaves open."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0005_transaction_keys")]

    operations = [
        migrations.AddField(
            "statementimport",
            "answers",
            models.JSONField(blank=True, default=dict, db_default=models.Value({}, models.JSONField())),
        )
    ]
