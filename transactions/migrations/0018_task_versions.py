"""Background tasks count their changes, for streams that go on where they were."""

from django.db import migrations, models

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0017_erased_users")]

    operations = [
        migrations.AddField(
            "backgroundtask", "version", models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
        ),
        RunSQLFile(__file__, "0018_task_versions.sql"),
    ]
