"""The owner's function that refreshes the materialized view, which the application does not own."""

from django.db import migrations

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    """Create the function."""

    dependencies = [("analytics", "0001_initial")]

    operations = [RunSQLFile(__file__, "0002_refresh_summary.sql")]
