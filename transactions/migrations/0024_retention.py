"""The schedule of the nightly deletion of expired rows."""

from django.db import migrations

from kamioi_site.db.seed import seed_schedule


class Migration(migrations.Migration):
    dependencies = [("transactions", "0023_detached_partitions")]

    operations = [seed_schedule({"delete_expired_rows": ("30 4 * * *", {"expire_seconds": 3600})})]
