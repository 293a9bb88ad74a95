"""The platform fee by day, capped by a share of the round-up."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles
from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0016_day_indexes")]

    operations = [
        migrations.CreateModel(
            name="PlatformFee",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_day", models.DateField(unique=True)),
                (
                    "fee",
                    models.DecimalField(
                        decimal_places=2, help_text="Dollars for each purchase that invests.", max_digits=14
                    ),
                ),
                (
                    "max_share",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="The fee is at most this share of the round-up.",
                        max_digits=5,
                        verbose_name="maximum share",
                    ),
                ),
                ("set_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "set_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "platform_fees"},
        ),
        migrations.AddConstraint(
            model_name="platformfee",
            constraint=models.CheckConstraint(condition=models.Q(("fee__gte", 0)), name="platform_fees_not_negative"),
        ),
        migrations.AddConstraint(
            model_name="platformfee",
            constraint=models.CheckConstraint(
                condition=models.Q(("max_share__range", (0, 1))), name="platform_fees_share_in_bounds"
            ),
        ),
        RunSQLFile(__file__, "0017_platform_fees.sql"),
        seed_roles({role: ["transactions.view_platformfee"] for role in ("finance", "operator")}),
    ]
