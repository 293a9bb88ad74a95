"""When the owner of a brand was looked up."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0003_corrections")]

    operations = [
        migrations.AddField(
            "cataloguebrand",
            "as_of",
            models.CharField(
                "as of",
                max_length=10,
                blank=True,
                default="",
                db_default="",
                help_text="When the owner was looked up: 2026-10.",
            ),
        )
    ]
