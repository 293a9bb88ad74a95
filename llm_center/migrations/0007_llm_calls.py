"""What asking a language model takes: one row a call."""

from decimal import Decimal

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0006_catalogue_brands")]

    operations = [
        migrations.CreateModel(
            name="LlmCall",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("provider", models.CharField(max_length=20)),
                ("model", models.CharField(blank=True, max_length=100)),
                ("merchants", models.PositiveIntegerField(help_text="Merchants that it asked for.")),
                ("prompt_tokens", models.PositiveIntegerField(default=0)),
                ("completion_tokens", models.PositiveIntegerField(default=0)),
                (
                    "cost",
                    models.DecimalField(decimal_places=6, default=Decimal("0"), help_text="Dollars.", max_digits=12),
                ),
                ("duration_ms", models.PositiveIntegerField(default=0, verbose_name="duration (ms)")),
                ("retries", models.PositiveSmallIntegerField(default=0)),
                (
                    "error",
                    models.CharField(blank=True, help_text="Why it failed; empty when it did not.", max_length=300),
                ),
            ],
            options={
                "verbose_name": "LLM call",
                "db_table": "llm_calls",
                "indexes": [models.Index(fields=["-started_at"], name="idx_llm_calls_started_at")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("cost__gte", 0)), name="llm_calls_cost_not_negative")
                ],
            },
        )
    ]
