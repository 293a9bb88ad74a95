"""Scratch paper for running imports."""

from django.db import migrations

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0003_beat_schedule")]

    operations = [RunSQLFile(__file__, "0004_statement_fingerprints.sql")]
