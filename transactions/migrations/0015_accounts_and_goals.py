"""What customers say about themselves, what they save for, what their front ends remember; requests answered once."""

from decimal import Decimal

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


def write_schedule(apps, schema_editor):
    crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
        minute="40", hour="*", day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
    )
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name="expire_idempotency_keys",
        defaults={"task": "expire_idempotency_keys", "crontab": crontab, "expire_seconds": 3600},
    )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name="expire_idempotency_keys").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("transactions", "0014_journal_entries"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="address",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="user",
            name="company_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=150),
        ),
        migrations.AddField(
            model_name="user",
            name="country",
            field=models.CharField(blank=True, db_default="", default="", max_length=60),
        ),
        migrations.AddField(
            model_name="user",
            name="first_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=75),
        ),
        migrations.AddField(
            model_name="user",
            name="investment_goals",
            field=models.CharField(blank=True, db_default="", default="", max_length=500),
        ),
        migrations.AddField(
            model_name="user",
            name="last_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=75),
        ),
        migrations.AddField(
            model_name="user", name="marketing_agreed", field=models.BooleanField(db_default=False, default=False)
        ),
        migrations.AddField(
            model_name="user", name="privacy_agreed_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="user",
            name="risk_tolerance",
            field=models.CharField(blank=True, db_default="moderate", default="moderate", max_length=30),
        ),
        migrations.AddField(
            model_name="user", name="terms_agreed_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="user",
            name="time_zone",
            field=models.CharField(blank=True, db_default="", default="", max_length=60),
        ),
        migrations.CreateModel(
            name="Goal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=120)),
                ("target_amount", models.DecimalField(decimal_places=2, max_digits=14)),
                ("current_amount", models.DecimalField(decimal_places=2, default=Decimal("0"), max_digits=14)),
                (
                    "goal_type",
                    models.CharField(
                        choices=[("personal", "Personal"), ("family", "Family"), ("business", "Business")],
                        default="personal",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="goals",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "goals",
                "indexes": [models.Index(fields=["user", "-id"], name="idx_goals_user")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("target_amount__gt", 0)), name="goals_target_positive"),
                    models.CheckConstraint(
                        condition=models.Q(("current_amount__gte", 0)), name="goals_current_not_negative"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("goal_type__in", ["personal", "family", "business"])),
                        name="goals_type_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=100)),
                ("fingerprint", models.CharField(help_text="SHA-256 of method, address and body.", max_length=64)),
                ("status", models.PositiveSmallIntegerField(default=0)),
                ("answer", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "idempotency_keys",
                "indexes": [models.Index(fields=["created_at"], name="idx_idempotency_keys_created")],
                "constraints": [models.UniqueConstraint(fields=("user", "key"), name="idempotency_keys_once_per_user")],
            },
        ),
        migrations.CreateModel(
            name="UserSetting",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("setting_key", models.CharField(max_length=64)),
                ("setting_value", models.JSONField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="settings",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "user_settings",
                "constraints": [
                    models.UniqueConstraint(fields=("user", "setting_key"), name="user_settings_once_per_user")
                ],
            },
        ),
        migrations.RunPython(write_schedule, remove_schedule),
    ]
