"""Finance writes journal entries; administrators may everything."""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations


def allow(apps, schema_editor):
    using = schema_editor.connection.alias
    create_permissions(installed.get_app_config("transactions"), verbosity=0, using=using)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    found = permissions.objects.using(using).filter(
        content_type__app_label="transactions", content_type__model="journalentry"
    )
    for role, wanted in [("finance", ["view", "add"]), ("admin", ["view", "add", "change", "delete"])]:
        for group in groups.objects.using(using).filter(name=role):
            group.permissions.add(*found.filter(codename__in=[f"{verb}_journalentry" for verb in wanted]))


class Migration(migrations.Migration):
    dependencies = [
        ("llm_center", "0013_mapping_deltas"),
        ("transactions", "0014_journal_entries"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(allow, migrations.RunPython.noop)]
