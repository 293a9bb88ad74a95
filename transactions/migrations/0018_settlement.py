"""Collections of what customers owe, the house's orders at the broker, and the schedule of both."""

import django.utils.timezone
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles, seed_schedule

VIEW = ("transactions.view_brokerorder", "transactions.view_collection")


class Migration(migrations.Migration):
    dependencies = [("transactions", "0017_platform_fees")]

    operations = [
        migrations.CreateModel(
            name="BrokerOrder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ticker", models.CharField(max_length=12)),
                ("side", models.CharField(choices=[("buy", "Buy"), ("sell", "Sell")], max_length=4)),
                ("shares", models.DecimalField(decimal_places=8, max_digits=20)),
                ("price", models.DecimalField(decimal_places=4, max_digits=14)),
                (
                    "amount",
                    models.DecimalField(decimal_places=2, help_text="Paid or received, in dollars.", max_digits=14),
                ),
                ("filled_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "broker_orders",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("side__in", ["buy", "sell"])), name="broker_orders_side_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0), ("price__gt", 0), ("shares__gt", 0)),
                        name="broker_orders_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Collection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="The day of booking.")),
                ("collected_to", models.BigIntegerField(help_text="Every earlier posting is collected.", unique=True)),
                ("customers", models.IntegerField()),
                (
                    "amount",
                    models.DecimalField(
                        decimal_places=2, help_text="Dollars.", max_digits=18, verbose_name="collected"
                    ),
                ),
                (
                    "returned",
                    models.DecimalField(
                        decimal_places=2, help_text="Dollars, to customers who had overpaid.", max_digits=18
                    ),
                ),
                ("collected_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "collections",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gte", 0), ("customers__gt", 0), ("returned__gte", 0)),
                        name="collections_not_negative",
                    )
                ],
            },
        ),
        seed_roles({"admin": VIEW, "finance": VIEW}),
        seed_schedule(
            {
                "collect_round_ups": ("10 1 * * *", {"expire_seconds": 3600}),
                "settle_positions": ("*/5 * * * *", {"expire_seconds": 300}),
            }
        ),
    ]
