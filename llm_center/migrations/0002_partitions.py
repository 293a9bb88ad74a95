"""The first partitions of the mapping log."""

from django.db import migrations

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0001_initial")]

    operations = [RunSQLFile(__file__, "0002_partitions.sql")]
