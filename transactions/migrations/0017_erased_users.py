"""When a person was erased."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0016_audit_events")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="erased_at",
            field=models.DateTimeField(
                editable=False, help_text="When everything that told who it is was taken out.", null=True
            ),
        )
    ]
