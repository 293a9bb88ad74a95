"""Rejected rows of the legacy system can be mended; who did it and when is kept."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0008_legacy_tables")]

    operations = [
        migrations.AddField(
            model_name="migrationreject", name="resolved_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="migrationreject",
            name="resolved_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
