"""The whole request that stored a purchase, so that its key is refused for another one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0007_row_class")]

    operations = [
        migrations.AddField(
            "transactionkey",
            "fingerprint",
            models.UUIDField(null=True, help_text="Hash of the API request with this key."),
        )
    ]
