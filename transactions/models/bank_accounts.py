"""The bank accounts of a customer, and what the customer answered about their files."""

from django.db import models
from django.utils import timezone


class BankAccount(models.Model):
    """One account or card at a bank. Purchases are distinguished within it; see `transactions.services.bank_accounts`.

    The bank's number is not stored, only a digest of it and its last digits.
    """

    class Kind(models.TextChoices):
        CHECKING = "checking"
        SAVINGS = "savings"
        CARD = "card"
        OTHER = "other"

    user = models.ForeignKey(
        "transactions.User", on_delete=models.PROTECT, db_index=False, related_name="bank_accounts"
    )
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.OTHER)
    currency = models.CharField(max_length=3, default="USD")
    last_four = models.CharField("last digits", max_length=4, blank=True, default="")
    name = models.CharField(max_length=100, blank=True, default="")
    digest = models.CharField(
        max_length=32, editable=False, help_text="Of the bank's number, or of the account's name."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "bank_accounts"
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="bank_accounts_once_per_user")]

    def __str__(self) -> str:
        return (
            self.name or f"{self.get_kind_display() if self.kind != self.Kind.OTHER else 'Account'} …{self.last_four}"
        )


class ImportProfile(models.Model):
    """The answers that were given about one layout of one account's files; they hold for later files."""

    user = models.ForeignKey(
        "transactions.User", on_delete=models.PROTECT, db_index=False, related_name="import_profiles"
    )
    bank_account = models.ForeignKey(BankAccount, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    layout = models.CharField(max_length=32, help_text="Digest of the headings.")
    answers = models.JSONField(default=dict)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "import_profiles"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "bank_account", "layout"], name="import_profiles_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return ", ".join(f"{key}: {value}" for key, value in sorted(self.answers.items()))
