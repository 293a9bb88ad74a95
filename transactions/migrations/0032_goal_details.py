"""What else a front end stores about a goal."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0031_account_members")]

    operations = [
        migrations.AddField(
            "goal",
            "details",
            models.JSONField(
                blank=True,
                default=dict,
                db_default=models.Value({}, models.JSONField()),
                help_text="What else a front end stores about the goal: description, department, deadline, status.",
            ),
        )
    ]
