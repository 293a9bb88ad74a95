"""Costs, impairment and disposal of assets; charges that can be reversed; the monthly run."""

from decimal import Decimal

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


def write_schedule(apps, schema_editor):
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="1", hour="0", day_of_month="1", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    # A month that was missed is caught up by the next run.
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="monthly_llm_amortization", defaults={"task": "monthly_llm_amortization", "crontab": crontab}
    )
    apps.get_model("transactions", "Setting").objects.get_or_create(
        key="amortization_credit_account",
        defaults={
            "value": "15100",
            "type": "string",
            "description": "Where amortization is credited: 15100, or 15200 as the legacy system did.",
        },
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="monthly_llm_amortization").delete()
    apps.get_model("transactions", "Setting").objects.filter(key="amortization_credit_account").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("llm_center", "0008_claims_and_settings"),
        ("transactions", "0011_asset_postings"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AssetEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("cost", "Cost"), ("impairment", "Impairment"), ("disposal", "Disposal")],
                        max_length=10,
                    ),
                ),
                (
                    "component",
                    models.CharField(
                        blank=True, help_text="Of a cost: computing, data, labelling, staff, licences …", max_length=60
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=2, max_digits=14)),
                ("dated_on", models.DateField()),
                ("note", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "verbose_name": "event of an asset",
                "verbose_name_plural": "events of assets",
                "db_table": "llm_asset_events",
            },
        ),
        migrations.RemoveConstraint(model_name="amortizationentry", name="amortization_entries_once_per_month"),
        migrations.AddField(
            model_name="amortizationentry",
            name="credit_account",
            field=models.CharField(db_default="15100", default="15100", max_length=10),
        ),
        migrations.AddField(
            model_name="amortizationentry", name="reversed_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="amortizationentry",
            name="reversed_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="amortizationentry",
            name="transfer_id",
            field=models.BigIntegerField(blank=True, help_text="Its row in the ledger.", null=True),
        ),
        migrations.AddField(
            model_name="llmdataasset",
            name="salvage_value",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=2,
                default=Decimal("0"),
                help_text="What it will be worth at the end of its life; never written off.",
                max_digits=14,
            ),
        ),
        migrations.AlterField(
            model_name="llmdataasset",
            name="cost_basis",
            field=models.DecimalField(
                decimal_places=2,
                default=Decimal("0"),
                help_text="All costs, those of the components included.",
                max_digits=14,
            ),
        ),
        migrations.AlterField(
            model_name="llmdataasset",
            name="current_value",
            field=models.DecimalField(
                decimal_places=2,
                default=Decimal("0"),
                help_text="What it is estimated to be worth; not booked.",
                max_digits=14,
            ),
        ),
        migrations.AlterField(
            model_name="llmdataasset",
            name="in_service_on",
            field=models.DateField(blank=True, help_text="Charged from this month on.", null=True),
        ),
        migrations.AlterField(
            model_name="llmdataasset",
            name="status",
            field=models.CharField(
                choices=[("development", "Development"), ("production", "in service"), ("disposed", "disposed of")],
                default="development",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="amortizationentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("reversed_at", None)),
                fields=("asset", "period"),
                name="amortization_entries_once_per_month",
            ),
        ),
        migrations.AddConstraint(
            model_name="llmdataasset",
            constraint=models.CheckConstraint(
                condition=models.Q(("salvage_value__gte", 0), ("salvage_value__lte", models.F("cost_basis"))),
                name="llm_data_assets_salvage_within_cost",
            ),
        ),
        migrations.AddField(
            model_name="assetevent",
            name="asset",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="events", to="llm_center.llmdataasset"
            ),
        ),
        migrations.AddField(
            model_name="assetevent",
            name="created_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddConstraint(
            model_name="assetevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount__gte", 0), ("kind", "disposal")),
                    models.Q(("amount__gt", 0), ("kind__in", ["cost", "impairment"])),
                    _connector="OR",
                ),
                name="llm_asset_events_amount_fits_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="assetevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "disposal")), fields=("asset",), name="llm_asset_events_disposed_once"
            ),
        ),
        migrations.RunPython(write_schedule, remove_schedule),
    ]
