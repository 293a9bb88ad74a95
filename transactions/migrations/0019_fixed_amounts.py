"""Round-up and fee of a purchase are fixed when it is stored."""

import django.db.models.expressions
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

# Rows that wait keep the round-up that customers and reviewers see; a fee that was never capped is computed again.
WAITING = """
    UPDATE transactions SET round_up_cents = round_up * 100
    WHERE status IN ('needs_review', 'mapped', 'awaiting_price') AND round_up > 0 AND round_up <= 100
"""


class Migration(migrations.Migration):
    dependencies = [("transactions", "0018_settlement")]

    operations = [
        migrations.AddField(
            model_name="transaction",
            name="fee_cents",
            field=models.SmallIntegerField(
                blank=True, help_text="The fee in cents, fixed when the purchase is stored.", null=True
            ),
        ),
        migrations.AddField(
            model_name="transaction",
            name="round_up_cents",
            field=models.SmallIntegerField(
                blank=True, help_text="The round-up in cents, fixed when the purchase is stored.", null=True
            ),
        ),
        AddConstraintNotValid(  # all rows from before follow it
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "completed"), _negated=True),
                    ("investable", 0),
                    models.Q(
                        (
                            "fee_cents",
                            django.db.models.expressions.CombinedExpression(models.F("fee"), "*", models.Value(100)),
                        ),
                        (
                            "round_up_cents",
                            django.db.models.expressions.CombinedExpression(
                                models.F("round_up"), "*", models.Value(100)
                            ),
                        ),
                    ),
                    _connector="OR",
                ),
                name="transactions_booked_as_stored",
            ),
        ),
        migrations.RunSQL(WAITING, migrations.RunSQL.noop),
    ]
