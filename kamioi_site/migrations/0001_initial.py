"""Functions that create partitions."""

from django.db import migrations

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [RunSQLFile(__file__, "0001_partitions.sql")]
