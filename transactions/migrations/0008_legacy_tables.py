"""Tables of the legacy migration that no model needs, and room for the legacy system's password hashes."""

from django.db import migrations, models

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0007_undo_and_priority")]

    operations = [
        migrations.AlterField(model_name="user", name="password", field=models.CharField(max_length=255)),
        RunSQLFile(__file__, "0008_legacy_tables.sql"),
    ]
