"""Roles as groups: reviewer, finance, operator, admin, and customer, who needs no permission. The admin edits them afterwards."""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEW_OF_REVIEWERS = (
    "llm_center.reviewmerchant llm_center.llmmapping llm_center.mappingdecision llm_center.pendingdecision "
    "llm_center.calibrationfit llm_center.cataloguebrand llm_center.mappingimport llm_center.mappingimportreject "
    "llm_center.llmcall transactions.merchant transactions.company transactions.stockprice transactions.transaction "
    "transactions.backgroundtask"
).split()
VIEW_OF_FINANCE = (
    "llm_center.llmdataasset llm_center.assetevent llm_center.amortizationentry transactions.ledgertransfer "
    "transactions.ledgeraccount transactions.holding transactions.transaction transactions.order transactions.user "
    "transactions.setting transactions.backgroundtask"
).split()
VIEW_OF_OPERATORS = (
    "transactions.backgroundtask transactions.statementimport transactions.statementreject transactions.migrationrun "
    "transactions.migrationreject transactions.user transactions.transaction transactions.order transactions.setting "
    "transactions.notification transactions.merchant transactions.stockprice transactions.company llm_center.llmcall "
    "llm_center.proposalclaim llm_center.mappingimport waffle.flag django_celery_beat.periodictask "
    "django_celery_beat.intervalschedule django_celery_beat.crontabschedule admin.logentry"
).split()
MORE = {
    "reviewer": (
        "llm_center.change_reviewmerchant llm_center.add_mappingimport llm_center.add_cataloguebrand "
        "llm_center.change_cataloguebrand"
    ),
    "finance": (
        "llm_center.add_llmdataasset llm_center.change_llmdataasset llm_center.add_amortizationentry "
        "llm_center.change_amortizationentry"
    ),
    "operator": (
        "transactions.change_backgroundtask transactions.add_statementimport transactions.change_migrationreject "
        "django_celery_beat.change_periodictask waffle.change_flag"
    ),
}
VIEWS = {"reviewer": VIEW_OF_REVIEWERS, "finance": VIEW_OF_FINANCE, "operator": VIEW_OF_OPERATORS}


def make_roles(apps, schema_editor):
    using = schema_editor.connection.alias
    for config in installed.get_app_configs():  # permissions are usually made after all migrations
        create_permissions(config, verbosity=0, using=using)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    known = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in permissions.objects.using(using).select_related("content_type")
    }
    groups.objects.using(using).get_or_create(name="customer")
    for role, models in VIEWS.items():
        wanted = [f"{model.split('.')[0]}.view_{model.split('.')[1]}" for model in models] + MORE[role].split()
        group, made = groups.objects.using(using).get_or_create(name=role)
        if made:
            group.permissions.set([known[name] for name in wanted])
    group, made = groups.objects.using(using).get_or_create(name="admin")
    if made:
        group.permissions.set(known.values())


def remove_roles(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=[*VIEWS, "admin", "customer"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("llm_center", "0011_calibration_fits"),
        ("transactions", "0012_stated_confidence"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("waffle", "0004_update_everyone_nullbooleanfield"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [migrations.RunPython(make_roles, remove_roles)]
