"""Detached months of the ledger and of purchases, which a verification knows."""

import django.utils.timezone
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles


class Migration(migrations.Migration):
    dependencies = [("transactions", "0022_periods")]

    operations = [
        migrations.CreateModel(
            name="DetachedPartition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("table", models.CharField(max_length=63)),
                ("name", models.CharField(max_length=63, unique=True)),
                ("end", models.DateField(help_text="The first day after it: all rows from before are detached.")),
                (
                    "remaining",
                    models.JSONField(
                        default=dict,
                        help_text="Day → rows, sums, holdings, cost and digest of the rows written on it that are left.",
                    ),
                ),
                ("detached_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={"db_table": "detached_partitions"},
        ),
        seed_roles({role: ["transactions.view_detachedpartition"] for role in ("admin", "finance")}),
    ]
