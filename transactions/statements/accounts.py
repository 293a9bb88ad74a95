"""The account that a file belongs to: the bank's number, the last digits, or only a name."""

import re
from dataclasses import dataclass, replace
from typing import Final

# Digits in a file name are an account only after one of these; other numbers are dates or counters.
_FILE_DIGITS = re.compile(
    r"(?:(?<![a-z0-9])x+|[*•…#]+|(?<![a-z])(?:ending|ends)[ _-]*(?:in|with)?[ _-]*|(?<![a-z])(?:acct|account)[ _-]*"
    r"|^chase)([0-9]{4})(?![0-9])",
    re.IGNORECASE,
)
_MASK = re.compile(r"[x*•.…#]{1,}[ -]?([0-9]{3,6})$", re.IGNORECASE)
_KINDS: Final = {
    "checking": frozenset("checking chequing".split()),
    "savings": frozenset("savings saving moneymrkt".split()),
    "card": frozenset("card cards visa mastercard amex creditcard creditline".split()),
}
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class AccountHint:
    """An account as a file names it. `number` is the bank's, without blanks and marks; empty where it is masked."""

    number: str = ""
    last_four: str = ""
    name: str = ""
    kind: str = OTHER
    currency: str = "USD"

    def __str__(self) -> str:
        kind = "Account" if self.kind == OTHER else self.kind.capitalize()
        label = self.name or (f"{kind} …{self.last_four}" if self.last_four else kind)
        return label if self.currency == "USD" else f"{label} ({self.currency})"


def kind_of(text: str) -> str:
    """Return the kind of account that these words name; "other" when they name none, or two."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    kinds = [kind for kind, names in _KINDS.items() if words & names]
    return kinds[0] if len(kinds) == 1 else OTHER


def account_kind(text: str) -> str:
    """Return "bank" or "card" where a file name or headings say so."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    is_card, is_bank = bool(words & _KINDS["card"]), bool(words & (_KINDS["checking"] | _KINDS["savings"]))
    return "" if is_bank == is_card else "bank" if is_bank else "card"


def account_of_filename(filename: str) -> AccountHint | None:
    """Return the account in a file name such as `checking_x1234.csv`; None without its last digits."""
    match = _FILE_DIGITS.search(filename)
    return AccountHint(last_four=match[1], kind=kind_of(filename)) if match else None


def account_of_text(text: str, *, kind: str = "", currency: str = "USD") -> AccountHint:
    """Return the account that a cell or a person names: by a number, its last digits, or a name."""
    text = " ".join(text.split())
    hint = AccountHint(kind=kind or kind_of(text), currency=currency)
    if match := _MASK.search(text):
        return replace(hint, last_four=match[1][-4:])
    number = re.sub(r"[^0-9A-Za-z]", "", text).upper()
    digits = re.sub("[^0-9]", "", number)
    if len(digits) == 4 and number == digits:
        return replace(hint, last_four=digits)
    if digits and 2 * len(digits) >= len(number):
        return replace(hint, number=number, last_four=digits[-4:])
    return replace(hint, name=text[:100])
