"""Complete double entry: customers owe their round-ups and fees until they are collected, and the house has a broker."""

from decimal import Decimal

import django.utils.timezone
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles

# 29900 took the remainders of rounding shares, which no price below a million dollars leaves.
CHART = """
    INSERT INTO ledger_accounts (number, name, type) VALUES
        ('10200', 'Cash at broker', 'asset'), ('11100', 'Receivable from customers', 'asset'),
        ('67040', 'Execution difference', 'expense'), ('67050', 'Corrections', 'expense')
    ON CONFLICT (number) DO UPDATE SET name = excluded.name;
    UPDATE ledger_accounts SET name = 'Securities at broker' WHERE number = '12100';
    UPDATE ledger_accounts SET name = 'Securities owed to customers' WHERE number = '22100';
    DELETE FROM ledger_accounts WHERE number = '29900' AND NOT EXISTS (
        SELECT FROM ledger_transfers WHERE '29900' IN (debit_account, credit_account)
    );
"""
# Until now a purchase was booked as if its money had reached the bank. The entries stay; one per customer corrects them.
UNCOLLECTED = """
    INSERT INTO ledger_transfers (user_id, date, kind, debit_account, credit_account, amount, reference)
    SELECT user_id, date_trunc('day', now(), 'UTC'), 'uncollected', '11100', '10100', sum(amount), 'bookings before 11100'
    FROM (
        SELECT user_id, CASE debit_account WHEN '10100' THEN amount ELSE -amount END AS amount FROM ledger_transfers
        WHERE kind ~ '^(undo_)?(round_up|fee)(_[2-5])?$' AND '10100' IN (debit_account, credit_account)
    ) AS bookings
    GROUP BY user_id HAVING sum(amount) > 0
"""


class Migration(migrations.Migration):
    dependencies = [("transactions", "0013_unmatched_refunds")]

    operations = [
        migrations.CreateModel(
            name="BrokerPosition",
            fields=[
                ("ticker", models.CharField(max_length=12, primary_key=True, serialize=False)),
                ("shares", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=20)),
                (
                    "cost_basis",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0"),
                        help_text="At the amounts owed to customers, in dollars.",
                        max_digits=14,
                    ),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={"db_table": "broker_positions"},
        ),
        migrations.RunSQL(CHART, migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name="ledgertransfer", name="ledger_transfers_posting_rule"),
        migrations.RemoveConstraint(model_name="ledgertransfer", name="ledger_transfers_shares_with_purchase"),
        migrations.AlterField(
            model_name="ledgertransfer", name="date", field=models.DateTimeField(help_text="The day of booking.")
        ),
        AddConstraintNotValid(  # rows from before do not follow it
            model_name="ledgertransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("credit_account", "20100"),
                        ("debit_account", "11100"),
                        ("kind__in", ["round_up", "round_up_2", "round_up_3", "round_up_4", "round_up_5"]),
                    ),
                    models.Q(
                        ("credit_account", "40100"),
                        ("debit_account", "11100"),
                        ("kind__in", ["fee", "fee_2", "fee_3", "fee_4", "fee_5"]),
                    ),
                    models.Q(
                        ("credit_account", "22100"),
                        ("debit_account", "20100"),
                        ("kind__in", ["purchase", "purchase_2", "purchase_3", "purchase_4", "purchase_5"]),
                    ),
                    models.Q(("credit_account", "22100"), ("debit_account", "30900"), ("kind__in", ["opening"])),
                    models.Q(
                        ("credit_account", "10100"),
                        ("debit_account", "11100"),
                        ("kind__in", ["uncollected", "returned"]),
                    ),
                    models.Q(("credit_account", "11100"), ("debit_account", "10100"), ("kind__in", ["collection"])),
                    models.Q(("credit_account", "10100"), ("debit_account", "10200"), ("kind__in", ["broker_cash"])),
                    models.Q(("credit_account", "10200"), ("debit_account", "10100"), ("kind__in", ["broker_cash"])),
                    models.Q(("credit_account", "10200"), ("debit_account", "12100"), ("kind__in", ["broker_buy"])),
                    models.Q(("credit_account", "12100"), ("debit_account", "10200"), ("kind__in", ["broker_sell"])),
                    models.Q(("credit_account", "12100"), ("debit_account", "67040"), ("kind__in", ["broker_diff"])),
                    models.Q(("credit_account", "67040"), ("debit_account", "12100"), ("kind__in", ["broker_diff"])),
                    models.Q(("credit_account", "12100"), ("debit_account", "67050"), ("kind__in", ["correction"])),
                    models.Q(("credit_account", "67050"), ("debit_account", "12100"), ("kind__in", ["correction"])),
                    models.Q(("credit_account", "15100"), ("debit_account", "67010"), ("kind__in", ["amortization"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "67010"), ("kind__in", ["amortization"])),
                    models.Q(("credit_account", "67010"), ("debit_account", "15100"), ("kind__in", ["amort_reversal"])),
                    models.Q(("credit_account", "67010"), ("debit_account", "15200"), ("kind__in", ["amort_reversal"])),
                    models.Q(("credit_account", "10100"), ("debit_account", "15200"), ("kind__in", ["capitalize"])),
                    models.Q(("credit_account", "15100"), ("debit_account", "67020"), ("kind__in", ["impairment"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "15100"), ("kind__in", ["disposal"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "10100"), ("kind__in", ["disposal"])),
                    models.Q(("credit_account", "15200"), ("debit_account", "67030"), ("kind__in", ["disposal"])),
                    models.Q(("credit_account", "40200"), ("debit_account", "15200"), ("kind__in", ["disposal"])),
                    models.Q(
                        ("credit_account", "11100"),
                        ("debit_account", "20100"),
                        (
                            "kind__in",
                            [
                                "undo_round_up",
                                "undo_round_up_2",
                                "undo_round_up_3",
                                "undo_round_up_4",
                                "undo_round_up_5",
                            ],
                        ),
                    ),
                    models.Q(
                        ("credit_account", "11100"),
                        ("debit_account", "40100"),
                        ("kind__in", ["undo_fee", "undo_fee_2", "undo_fee_3", "undo_fee_4", "undo_fee_5"]),
                    ),
                    models.Q(
                        ("credit_account", "20100"),
                        ("debit_account", "22100"),
                        (
                            "kind__in",
                            [
                                "undo_purchase",
                                "undo_purchase_2",
                                "undo_purchase_3",
                                "undo_purchase_4",
                                "undo_purchase_5",
                            ],
                        ),
                    ),
                    models.Q(
                        models.Q(("debit_account__in", ["11100", "12100", "20100", "22100"]), _negated=True),
                        models.Q(("credit_account__in", ["11100", "12100", "20100", "22100"]), _negated=True),
                        ("kind__in", ("journal_entry", "journal_reverse")),
                    ),
                    ("kind", "journal"),
                    _connector="OR",
                ),
                name="ledger_transfers_posting_rule",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        (
                            "kind__in",
                            (
                                "purchase",
                                "opening",
                                "broker_buy",
                                "broker_sell",
                                "broker_diff",
                                "correction",
                                "purchase_2",
                                "purchase_3",
                                "purchase_4",
                                "purchase_5",
                                "undo_purchase",
                                "undo_purchase_2",
                                "undo_purchase_3",
                                "undo_purchase_4",
                                "undo_purchase_5",
                            ),
                        ),
                        ("shares__gte", 0),
                        ("shares__isnull", False),
                        ("ticker__isnull", False),
                    ),
                    models.Q(
                        models.Q(
                            (
                                "kind__in",
                                (
                                    "purchase",
                                    "opening",
                                    "broker_buy",
                                    "broker_sell",
                                    "broker_diff",
                                    "correction",
                                    "purchase_2",
                                    "purchase_3",
                                    "purchase_4",
                                    "purchase_5",
                                    "undo_purchase",
                                    "undo_purchase_2",
                                    "undo_purchase_3",
                                    "undo_purchase_4",
                                    "undo_purchase_5",
                                ),
                            ),
                            _negated=True,
                        ),
                        ("shares__isnull", True),
                        ("ticker__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="ledger_transfers_shares_with_purchase",
            ),
        ),
        migrations.AddConstraint(
            model_name="brokerposition",
            constraint=models.CheckConstraint(
                condition=models.Q(("shares__gte", 0)), name="broker_positions_not_negative"
            ),
        ),
        seed_roles({"finance": ["transactions.view_brokerposition"]}),
        migrations.RunSQL(UNCOLLECTED, migrations.RunSQL.noop),
        migrations.RunSQL("DROP FUNCTION kamioi_cents(numeric)", migrations.RunSQL.noop),
    ]
