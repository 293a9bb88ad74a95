"""The merchant key: what remains of a bank's descriptor without everything that is not the merchant.

All transactions with the same key share one directory row, one proposal and one reviewer's decision. So two spellings
of one merchant should give one key (``STARBUCKS STORE 01234 SEATTLE WA`` and ``SQ *Starbucks #99``), and two merchants
must never share one: what is not recognised as noise stays.

The rules, in order:

* upper case, accents folded, apostrophes dropped, other punctuation replaced by a blank; ``&`` stays and ``AND``
  becomes ``&``, a plus after a name is spelled out (DISNEY+ is DISNEY PLUS);
* what banks, processors and platforms put before the merchant is removed, unless they were paid themselves: then they
  are the key (see ``rules/wrappers.py``);
* the first number of three or more digits, a phone number, a date or a reference ends the name when a place follows;
  otherwise only the number is removed. Numbers of one or two digits belong to names (MOTEL 6, FOREVER 21, SUPER 8);
* a state at the end is removed, and its city before it (see ``rules/places.py``); so are zip codes, card numbers and
  countries;
* ``.COM`` and the like stay in the key (HOTELS.COM is not HOTELS); ``WWW.``, paths and help addresses are removed.

``normalise`` is pure, idempotent and total: any text gives a key, and only blank text gives an empty one.
"""

import re
import tomllib
import unicodedata
from functools import lru_cache
from pathlib import Path

from transactions.rules.places import ends_in_place, split_fields, strip_place
from transactions.rules.wrappers import DATE, after_unknown, unwrap

MAX_KEY_LENGTH = 120  # characters; the ``merchant_key`` columns are at least this wide

_READ_LENGTH = 512
_MAX_ROUNDS = 20

CACHE_SIZE = 1 << 16  # descriptors cached by `normalise`: statements repeat them, and 65,536 pairs are about 15 MB

_DATA = Path(__file__).parent.parent / "data"
_WORDS = {
    name: frozenset(words.split()) for name, words in tomllib.loads((_DATA / "merchant_key.toml").read_text()).items()
}
_GENERIC, _NUMBER_WORDS = _WORDS["generic_words"], _WORDS["number_words"]
_TRAILING_NOISE = _WORDS["legal_forms"] | _WORDS["trailing_noise"]

_ASCII = {i: " " for i in range(128) if not chr(i).isalnum()}
_ASCII |= {ord(c): "" for c in "'`\""}
_ASCII |= {ord(c): c for c in ".&*#/:@-+"}
_PUNCTUATION = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201b": "'",
        "\u02bc": "'",
        "\u00b4": "'",
        "\u2013": "-",
        "\u2014": "-",
        "\u00df": "SS",
        "\u00d8": "O",
        "\u00f8": "O",
        "\u00c6": "AE",
        "\u00e6": "AE",
        "\u0141": "L",
        "\u0142": "L",
        "\u00ae": " ",
        "\u2122": " ",
        "\u00a9": " ",
    }
)

# From here on a descriptor contains only banking details.
_TAIL = re.compile(
    r" DES:| C#| ORIG ID:| CO ENTRY | ON \d{6} | FROM CARD| PURCHASE \d+\.\d\d| CASH BACK \d"
    r"| (?:PPD|WEB|CCD|TEL|CTX) ID\b| INDN:| CO ID:| CARD (?:ENDING |NBR:|NO |NUMBER )?(?:IN )?[- X#*\d]| CARD\d{4}"
    r"| [SP]\d{12,}| X{2,}-?\d{2,}| \*{2,}\d{2,}| (?:REF|AUTH|TRACE|CONF|SEQ|TRAN|TRN|INV|INVOICE|ORDER|ID|ACCT)"
    r"(?: ?NO\.?| ?NUM| ?ID)? ?[#:]| (?:REF|AUTH|TRACE|CONFIRMATION) ?(?=[A-Z]*\d)"
)
# The same without a blank before it: CADATE 01/31/25, CACARD 1234.
_GLUED_TAIL = re.compile(r"DATE \d\d/\d\d/\d\d|CARD \d{4}$")
_PHONE = re.compile(
    r"(?<![A-Z0-9])(?:\+?1[-. ]?)?(?:\(?\d{3}\)?[-. /]{1,2}\d{3}[-. ]?\d{4}|\d{3}-\d{7}"
    r"|1?8(?:00|33|44|55|66|77|88)\d{7})(?!\d)|(?<!\d)\d{3}-\d{3}-?\d{4}(?!\d)|X{3}-X{3}-?\d{4}"
)
_TOLL_FREE_NAME = re.compile(r"(?<![A-Z0-9])1?[- .]?8(00|88)[- .]?(?=[A-Z]{4})")
# Searches for a digit first are several times faster than the patterns that they guard.
_MAY_BE_PHONE = re.compile(r"\d{3}(?:[-. /)]{1,2}\d{3}|\d{7})")
_DATES = re.compile(
    r"(?<![\d/-])(?:" + DATE + r"(?: (?:MOBILE )?PURCHASE(?= ))?|(?:0\d|1[0-2])-[0-3]\d(?= )"
    r"|\d\d?:\d\d(?::\d\d)?(?: ?[AP]M\b)?)(?![\d/-])"
)
_TLD = r"COM|NET|ORG|IO|TV|AI|CO|APP|US|ME|GG|FM|DEV|EDU|GOV|SHOP|STORE|CO\.UK|CA"
_PLUS = re.compile(r"(?<=[A-Z])\+")
_GLUED_NUMBER = re.compile(r"(?<=\.COM)(?=\d)")
_STUCK_NUMBER = re.compile(r"\d(?<=[A-Z]\d)(?:(?<=[A-Z]{4}\d)\d{3,}|(?<=&[A-Z]\d)\d{2,}|(?<=AIR\d)\d{6,})")
_T_STORE = re.compile(r"(?<= )T-?\d{3,5}(?= |$)")
_DOMAIN = re.compile(r"(?:HTTPS?:/*)?((?:[A-Z0-9-]+\.)*)([A-Z0-9&-]+)\.(" + _TLD + r")(?![A-Z0-9.])((?:/[^ ]*)?)")
_INITIALS = re.compile(r"(?<![A-Z0-9.])(?:[A-Z]\.){2,}[A-Z]?(?![A-Z0-9])")
_SPLIT = re.compile(r"[-*#/:@+]+")
_KEEP_DOT = re.compile(r"\.(?!(?:" + _TLD + r")(?:\.UK)?(?: |$))|(?<![A-Z0-9&])\.")
_AMPERSAND = re.compile(r" *& *")
_SHORT_AMPERSAND = re.compile(r"(?<![A-Z0-9.&])([A-Z0-9]{1,2}) & ([A-Z0-9]{1,2})(?![A-Z0-9.])")
_HAS_DIGIT = re.compile(r"\d")
_ONLY_LETTERS = re.compile(r"[A-Z& ]*\Z")


def _fold(descriptor: str) -> str:
    """Return upper case, in ASCII where an ASCII letter exists; letters of other scripts stay."""
    if descriptor.isascii():
        return descriptor.upper()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", descriptor).upper()).translate(_PUNCTUATION)
    # Remove only Latin, Greek and Cyrillic accents: in other scripts a mark makes a different letter.
    folded = unicodedata.normalize("NFKC", "".join(c for c in folded if not "\u0300" <= c <= "\u036f")).upper()
    return "".join(c if c.isalnum() or c.isascii() or unicodedata.combining(c) else " " for c in folded)


def _domain(match: re.Match[str]) -> str:
    """Return the registered name of a web address, or a blank where it only repeats the merchant."""
    sub, name, tld, path = match.groups()
    before = match.string[: match.start()].strip()
    if not before:
        return f"{name.replace('-', '')}.{tld} "
    compact = before.replace(" ", "")
    plain = name.replace("-", "")
    repeats = len(plain) >= 4 and (compact[:4] == plain[:4] or plain.startswith(compact[:6]))
    if repeats or (len(compact) > 3 and (path or (sub and sub != "WWW."))):
        return " "
    return f"{name.replace('-', '')}.{tld} "


def _is_number(token: str) -> bool:
    """Whether a token is a store number, a zip code or a reference rather than part of a name."""
    if token.isdigit():
        return len(token) >= 3
    if token.isalpha() or "." in token:
        return False
    digits = sum(map(str.isdigit, token))
    if digits >= 3:
        return not token.startswith("1800")
    if digits == 2 and token[0] == "Q" and len(token) == 3:
        return True  # a terminal: Q03
    return digits == 2 and len(token) >= 6 and not token[-2:].isdigit()


def _cut_numbers(tokens: list[str]) -> list[str]:
    """Remove store numbers and references, and the place after the first of them."""
    for i in range(1, len(tokens)):
        if not _is_number(tokens[i]) or (i == 1 and tokens[0] in _GENERIC):
            continue
        head, tail = tokens[:i], [t for t in tokens[i + 1 :] if not _is_number(t)]
        while len(head) > 1 and head[-1] in _NUMBER_WORDS:
            head.pop()
        return head if not tail or ends_in_place(tail) else head + tail
    return tokens


def _apply_rules(text: str) -> str:
    """Apply the rules once to upper-case text."""
    text, key = unwrap(text)
    if key:
        return key
    if _ONLY_LETTERS.match(text):
        return _join(text.split())
    return _join(_cut_numbers(_without_noise(text).split()))


def _without_noise(text: str) -> str:
    """Remove dates, phone numbers, references and punctuation, except ``&`` and the dot of a web address."""
    if (match := _TAIL.search(text)) and match.start() > 1:
        text = text[: match.start()]
    if ("DATE " in text or "CARD " in text) and (match := _GLUED_TAIL.search(text)) and match.start() > 1:
        text = text[: match.start()]
    if "+" in text:
        text = _PLUS.sub(" PLUS", text)
    if _HAS_DIGIT.search(text):
        text = _STUCK_NUMBER.sub(lambda m: f" {m[0]} ", text)  # a template takes longer, even if nothing matches
        if "800" in text or "888" in text:
            text = _TOLL_FREE_NAME.sub(r" 18\1", text)
        if text[0].isalpha():
            if _MAY_BE_PHONE.search(text) or "XXX-" in text:
                text = _PHONE.sub(" 00000 ", text)
            if "/" in text or "-" in text or ":" in text:
                text = _DATES.sub(" 00000 ", text)
        if "#" in text:
            text = text.replace("#", " 000")
        if " T" in text:
            text = _T_STORE.sub(" 00000 ", text)
    if "." in text:
        text = _INITIALS.sub(lambda m: m[0].replace(".", ""), text)
        text = _DOMAIN.sub(_domain, _GLUED_NUMBER.sub(" ", text))
        text = _KEEP_DOT.sub(" ", text)
    return _SPLIT.sub(" ", text)


def _join(tokens: list[str]) -> str:
    """Build the key from tokens: without numbers, place, legal form and leading article, ``&`` spaced uniformly."""
    if len(tokens) > 1:
        strip_place(tokens)
        while len(tokens) > 1 and tokens[-1] in _TRAILING_NOISE and tokens[-2] != "&":
            tokens.pop()
        if len(tokens) > 1 and tokens[0] == "THE":
            del tokens[0]
    if "AND" in tokens:
        tokens = ["&" if word == "AND" else word for word in tokens]
    key = " ".join(tokens)
    if "&" in key:
        key = _SHORT_AMPERSAND.sub(r"\1&\2", _AMPERSAND.sub(" & ", key)).strip()
    return key


def normalise_uncached(descriptor: str) -> str:
    """Compute the merchant key without the cache; see :func:`normalise`."""
    # Real descriptors are far shorter; the limit keeps hostile text from costing seconds.
    descriptor = descriptor.strip()[:_READ_LENGTH]
    text = split_fields(_fold(descriptor)).translate(_ASCII)
    if not text.strip():
        # Punctuation alone is still a descriptor and its own key.
        return " ".join(descriptor.split())[:MAX_KEY_LENGTH]
    # Usually the second round changes nothing. A round only shortens the text; the limit ensures termination for any
    # input.
    for _ in range(_MAX_ROUNDS):
        key = _apply_rules(text)[:MAX_KEY_LENGTH].rstrip()
        if key in ("", text):
            break
        text = key
    return text.strip()[:MAX_KEY_LENGTH].rstrip()


@lru_cache(maxsize=CACHE_SIZE)
def normalise(descriptor: str) -> str:
    """Return the merchant key of a raw bank descriptor.

    Upper case, at most :data:`MAX_KEY_LENGTH` characters, the same for all spellings of a merchant.
    ``normalise(normalise(x)) == normalise(x)``; never raises; empty only for blank text.
    """
    return normalise_uncached(descriptor)


def key_readings(descriptor: str) -> tuple[str, ...]:
    """Return the merchant key, and a second one if it may be that only the text after a star names the merchant.

    ``XYZ*JOES TAVERN`` may be a product of XYZ or a shop that XYZ collects for: XYZ JOES TAVERN, JOES TAVERN.
    """
    key = normalise(descriptor)
    if "*" not in descriptor:
        return (key,)
    text, paid = unwrap(_fold(descriptor.strip()[:_READ_LENGTH]).translate(_ASCII))
    rest = "" if paid else after_unknown(text)
    other = normalise_uncached(rest) if rest else ""
    return (key, other) if other and other != key else (key,)
