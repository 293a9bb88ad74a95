"""Purchases that a correction books again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0025_limits")]

    operations = [
        migrations.AlterField(
            "transaction",
            "priority",
            models.PositiveSmallIntegerField(
                choices=[
                    (0, "a customer's own purchase"),
                    (3, "released by a reviewer"),
                    (4, "booked again by a correction"),
                    (9, "bulk"),
                ],
                default=0,
            ),
        )
    ]
