"""Quotas of uploads, and the expiry of their files and rejected rows."""

from django.db import migrations, models

from kamioi_site.db.seed import seed_schedule
from kamioi_site.db.sql_migrations import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("transactions", "0003_accounts")]

    operations = [
        migrations.AddIndex(
            model_name="statementimport",
            index=models.Index(fields=["user", "created_at"], name="idx_statement_imports_quota"),
        ),
        migrations.AddIndex(
            model_name="statementimport",
            index=models.Index(
                condition=models.Q(("file", ""), _negated=True),
                fields=["created_at"],
                name="idx_statement_imports_files",
            ),
        ),
        RunSQLFile(__file__, "0004_uploads.sql"),
        seed_schedule({"expire_uploads": ("10 4 * * *", {"expire_seconds": 3600})}),
    ]
