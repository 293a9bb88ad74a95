"""An index of the words in company names."""

from django.db import migrations

from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0029_row_classes")]

    operations = [RunSQLFile(__file__, "0030_company_words.sql")]
