"""Operators open locked log-ins; administrators remove second factors as well."""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

FAILED_LOG_INS = ("axes", "accessattempt")
SECOND_FACTORS = ("otp_totp", "totpdevice")


def allow(apps, schema_editor):
    using = schema_editor.connection.alias
    for app in ("axes", "otp_totp"):
        create_permissions(installed.get_app_config(app), verbosity=0, using=using)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for role, models in (("operator", [FAILED_LOG_INS]), ("admin", [FAILED_LOG_INS, SECOND_FACTORS])):
        for group in groups.objects.using(using).filter(name=role):
            for app, model in models:
                group.permissions.add(
                    *permissions.objects.using(using).filter(
                        content_type__app_label=app, codename__in=[f"view_{model}", f"delete_{model}"]
                    )
                )


class Migration(migrations.Migration):
    dependencies = [
        ("llm_center", "0015_waited_seconds"),
        ("axes", "0010_accessattemptexpiration"),
        ("otp_totp", "0003_add_timestamps"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(allow, migrations.RunPython.noop)]
