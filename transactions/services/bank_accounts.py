"""The accounts that files belong to, and the answers that hold for their later files.

An account is recognised by the bank's number, of which only a digest is stored; by its last digits where a file masks
the number; or by its name. Last digits and a number that ends in them are one account, if the kinds allow it.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from transactions.errors import UnknownAccountError
from transactions.models import BankAccount, ImportProfile, User
from transactions.statements.accounts import OTHER, AccountHint, account_of_filename, account_of_text

# Of a number: it identifies the account for good. Others are replaced when the number becomes known.
_NUMBER: Final = "n"
_MAX_ACCOUNTS: Final = 100  # of a customer: a column of free text is no list of accounts
# Answers about the layout of a file. “Import despite the balance” is about one file only.
_REMEMBERED: Final = ("date_order", "spending", "columns")


def find_or_add_account(*, user: User, hint: AccountHint) -> BankAccount | None:
    """Return the customer's account that the hint names, added if it is new.

    None if it may be one of several, or if the customer has too many.
    """
    digest = _digest(user, hint)
    if account := BankAccount.objects.filter(user=user, digest=digest).first():
        return account
    similar = _similar_accounts(user, hint)
    if len(similar) == 1:
        return _learn(similar[0], hint, digest)
    if (similar and not hint.number) or BankAccount.objects.filter(user=user).count() >= _MAX_ACCOUNTS:
        return None
    try:
        with transaction.atomic():
            return BankAccount.objects.create(
                user=user,
                kind=hint.kind,
                currency=hint.currency,
                last_four=hint.last_four,
                name=hint.name,
                digest=digest,
            )
    except IntegrityError:  # another import has just added it
        return BankAccount.objects.get(user=user, digest=digest)


def choose_account(*, user: User, text: str) -> BankAccount:
    """Return the account that a person names by its name, label, last digits or “#id”, added if it is new.

    Raises UnknownAccountError where several accounts have these digits.
    """
    text = " ".join(text.split())
    for account in BankAccount.objects.filter(user=user).order_by("pk"):
        if text.casefold() in (account.name.casefold(), str(account).casefold(), f"#{account.pk}"):
            return account
    found = find_or_add_account(user=user, hint=account_of_text(text))
    if found is None:
        raise UnknownAccountError(f"“{text}” is more than one account; name the kind too, as in “checking x1234”.")
    return found


def account_of_file(*, user: User, filename: str, chosen: str = "") -> BankAccount | None:
    """Return the account that a person chose, or else the one in the file's name, such as `checking_x1234.csv`.

    Raises UnknownAccountError where the choice may be one of several accounts.
    """
    if chosen.strip():
        return choose_account(user=user, text=chosen)
    hint = account_of_filename(filename)
    return find_or_add_account(user=user, hint=hint) if hint else None


def learn_number(*, account: BankAccount, hint: AccountHint) -> None:
    """Attach the bank's number to a chosen account that has none, so that the next file is recognised."""
    digest = _digest(account.user, hint)
    if hint.number and not BankAccount.objects.filter(user=account.user, digest=digest).exists():
        _learn(account, hint, digest)


def _similar_accounts(user: User, hint: AccountHint) -> list[BankAccount]:
    """Return the accounts with the same last digits and no other number or kind; those of the same kind if any."""
    if not hint.last_four:
        return []
    found = [
        account
        for account in BankAccount.objects.filter(user=user, last_four=hint.last_four, currency=hint.currency)
        if OTHER in (account.kind, hint.kind) or account.kind == hint.kind
        if not (hint.number and account.digest.startswith(_NUMBER))
    ]
    return [account for account in found if account.kind == hint.kind] or found


def _learn(account: BankAccount, hint: AccountHint, digest: str) -> BankAccount:
    """Complete the account by what the hint knows better."""
    if account.kind == OTHER:
        account.kind = hint.kind
    if hint.number and not account.digest.startswith(_NUMBER):
        account.digest, account.last_four = digest, hint.last_four
    account.save(update_fields=["kind", "digest", "last_four"])
    return account


def _digest(user: User, hint: AccountHint) -> str:
    """Return the digest of what identifies the account; other customers have other digests of the same number."""
    prefix, text = (
        (_NUMBER, hint.number)
        if hint.number
        else ("d", f"{hint.kind} {hint.last_four} {hint.currency}")
        if hint.last_four
        else ("t", hint.name.casefold())
    )
    return prefix + blake2b(text.encode(), key=f"bank account {user.pk}".encode(), digest_size=15).hexdigest()


# --- Remembered answers -----------------------------------------------------------------------------------------------
def remembered_answers(*, user: User, account: BankAccount | None, layout: str) -> dict[str, str]:
    """Return the answers that were given about this layout of this account's files."""
    profile = ImportProfile.objects.filter(user=user, bank_account=account, layout=layout).first()
    return dict(profile.answers) if profile else {}


def recall_for(*, user: User, account: BankAccount | None) -> Callable[[str], dict[str, str]]:
    """Return the function that gives the remembered answers for a layout."""
    return lambda layout: remembered_answers(user=user, account=account, layout=layout)


def remember_answers(*, user: User, account: BankAccount | None, layout: str, answers: Mapping[str, str]) -> None:
    """Keep the answers for later files with this layout; new answers replace earlier ones."""
    kept = {key: answers[key] for key in _REMEMBERED if answers.get(key)}
    if kept and layout:
        earlier = remembered_answers(user=user, account=account, layout=layout)
        ImportProfile.objects.update_or_create(
            user=user,
            bank_account=account,
            layout=layout,
            defaults={"answers": earlier | kept, "updated_at": timezone.now()},
        )
