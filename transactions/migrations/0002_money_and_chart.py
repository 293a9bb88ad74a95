"""Money rules in SQL, the chart of accounts, the first settings and partitions."""

from django.db import migrations

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0001_initial")]

    operations = [RunSQLFile(__file__, "0002_money.sql"), RunSQLFile(__file__, "0002_chart_and_settings.sql")]
