"""Fits of the calibration, and when they are made."""

import django.utils.timezone
from django.db import migrations, models

# task → (minute, hour); UTC.
SCHEDULE = {"refit_calibration": ("30", "3"), "recheck_directory": ("0", "4")}


def write_schedule(apps, schema_editor):
    for name, (minute, hour) in SCHEDULE.items():
        crontab, _ = apps.get_model("django_celery_beat", "CrontabSchedule").objects.get_or_create(
            minute=minute, hour=hour, day_of_month="*", day_of_week="*", month_of_year="*", timezone="UTC"
        )
        apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
            name=name, defaults={"task": name, "crontab": crontab, "expire_seconds": 3600}
        )


def remove_schedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=SCHEDULE).delete()


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0010_mapping_imports")]

    operations = [
        migrations.CreateModel(
            name="CalibrationFit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(choices=[("matcher", "matcher"), ("llm", "LLM")], max_length=10)),
                ("points", models.JSONField(help_text="Pairs of stated and calibrated confidence.")),
                ("observations", models.PositiveIntegerField(help_text="Answers that people judged.")),
                (
                    "brier_before",
                    models.FloatField(help_text="Mean squared distance to the truth as stated; 0 is best.", null=True),
                ),
                ("brier_after", models.FloatField(help_text="The same, calibrated.", null=True)),
                ("fitted_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "calibration_fits",
                "indexes": [models.Index(fields=["source", "-id"], name="idx_calibration_fits_newest")],
            },
        ),
        migrations.RunPython(write_schedule, remove_schedule),
    ]
