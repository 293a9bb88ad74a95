"""What writes of transactions change in the figures of a day."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0012_stated_confidence")]

    operations = [
        migrations.CreateModel(
            name="TransactionDelta",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("status", models.CharField(max_length=16)),
                ("ticker", models.CharField(max_length=12, null=True)),
                ("rows", models.IntegerField()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=18)),
                ("round_up", models.DecimalField(decimal_places=2, max_digits=18)),
                ("fee", models.DecimalField(decimal_places=2, max_digits=18)),
                ("investable", models.DecimalField(decimal_places=2, max_digits=18)),
                ("writes", models.IntegerField()),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="Whose rows these are, where they are new.",
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "transaction_deltas"},
        )
    ]
