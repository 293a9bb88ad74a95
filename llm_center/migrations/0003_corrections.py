"""A decision may also correct what was booked."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0002_amortization_reversals")]

    operations = [
        migrations.AddField(
            "mappingdecision",
            "corrected_count",
            models.PositiveIntegerField(
                "corrected", default=0, db_default=0, help_text="Booked purchases that the decision corrects too."
            ),
        ),
        migrations.AddField(
            "pendingdecision",
            "include_booked",
            models.BooleanField(
                "also what was booked",
                default=False,
                db_default=False,
                help_text="Whether booked purchases are corrected too.",
            ),
        ),
    ]
