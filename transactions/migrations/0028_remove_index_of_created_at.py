"""Lists of staff are ordered by date, which an index serves already."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("transactions", "0027_primary_keys")]

    operations = [migrations.RemoveIndex("transaction", "idx_transactions_created_at")]
