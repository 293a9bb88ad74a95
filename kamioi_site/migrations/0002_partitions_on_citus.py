"""Months are created on Citus too, which refuses a subquery without columns."""

from django.db import migrations

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("kamioi_site", "0001_initial")]
    operations = [RunSQLFile(__file__, "0002_partitions_on_citus.sql")]
