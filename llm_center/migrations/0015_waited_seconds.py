"""A decision remembers how long the merchant had waited for it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0014_journal_role")]

    operations = [
        migrations.AddField(
            model_name="mappingdecision",
            name="waited_seconds",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How long the merchant had been waiting for a decision; empty where it was not.",
                null=True,
            ),
        )
    ]
