"""The audit trail of staff."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0015_accounts_and_goals")]

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("change", "changed something"),
                            ("download", "took data out"),
                            ("log_in", "logged in"),
                            ("log_out", "logged out"),
                            ("log_in_failed", "failed to log in"),
                        ],
                        max_length=13,
                    ),
                ),
                ("action", models.CharField(help_text="Method and name of the address.", max_length=200)),
                (
                    "target",
                    models.CharField(
                        blank=True, help_text="Which rows, as the address and the form name them.", max_length=500
                    ),
                ),
                ("status", models.PositiveSmallIntegerField(help_text="Of the HTTP answer.", null=True)),
                ("address", models.GenericIPAddressField(help_text="Of the caller.", null=True)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                (
                    "user",
                    models.ForeignKey(
                        help_text="Whose account was used.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "audit_events",
                "indexes": [models.Index(fields=["user", "-id"], name="idx_audit_events_user")],
            },
        ),
        RunSQLFile(__file__, "0016_audit_events.sql"),
    ]
