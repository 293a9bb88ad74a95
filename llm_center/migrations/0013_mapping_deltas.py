"""What writes of the mapping log change in the figures of a day."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm_center", "0012_roles")]

    operations = [
        migrations.CreateModel(
            name="MappingDelta",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="Of `created_at`, UTC.")),
                ("status", models.CharField(max_length=10)),
                ("source", models.CharField(max_length=10)),
                ("automatic", models.BooleanField()),
                ("rows", models.IntegerField()),
                ("confidence", models.DecimalField(decimal_places=4, help_text="Sum over the rows.", max_digits=18)),
                ("writes", models.IntegerField()),
            ],
            options={"db_table": "mapping_deltas"},
        )
    ]
