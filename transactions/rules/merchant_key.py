"""The merchant key: what remains of a bank's descriptor without everything that is not the merchant.

All transactions with the same key share one directory row, one proposal and one reviewer's decision. So two spellings
of one merchant should give one key (``STARBUCKS STORE 01234 SEATTLE WA`` and ``SQ *Starbucks #99``), and two merchants
must never share one: what is not recognised as noise stays.

The rules, in order:

* upper case, accents folded, apostrophes dropped, other punctuation replaced by a blank; ``&`` stays and ``AND``
becomes
  ``&``, a plus after a name is spelled out (DISNEY+ is DISNEY PLUS);
* bank wording (POS DEBIT, CHECKCARD 0115, PURCHASE AUTHORIZED ON 01/15) and payment processors (SQ *, TST*, PAYPAL *)
  at the front are removed: the merchant follows them; a delivery company or marketplace at the front (DOORDASH*, UBER
  EATS, IC* = Instacart, AMZN MKTP) stays and what follows is removed: it is who was paid;
* the first number of three or more digits, a phone number, a date or a reference ends the name when a place follows;
  otherwise only the number is removed. Numbers of one or two digits belong to names (MOTEL 6, FOREVER 21, SUPER 8);
* a state at the end is removed, and a city before it if it is one of ``_CITIES``; so are zip codes, card numbers and
  countries;
* ``.COM`` and the like stay in the key (HOTELS.COM is not HOTELS); ``WWW.``, paths and help addresses are removed.

``normalise`` is pure, idempotent and total: any text gives a key, and only blank text gives an empty one.
"""

import re
import tomllib
import unicodedata
from functools import lru_cache
from pathlib import Path

MAX_KEY_LENGTH = 120  # characters; the ``merchant_key`` columns are at least this wide

_READ_LENGTH = 512
_MAX_ROUNDS = 20

CACHE_SIZE = 1 << 16  # descriptors cached by `normalise`: statements repeat them, and 65,536 pairs are about 15 MB

_DATA = Path(__file__).parent.parent / "data"
_CITIES = frozenset((_DATA / "us_cities.txt").read_text(encoding="ascii").splitlines())
_WORDS = {
    name: frozenset(words.split()) for name, words in tomllib.loads((_DATA / "merchant_key.toml").read_text()).items()
}
_STATES, _WORD_STATES, _COUNTRIES = _WORDS["states"], _WORDS["word_states"], _WORDS["countries"]
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

_DATE = r"(?:\d{1,2}/\d{1,2}(?:/\d{2,4})?|\d{4}-\d\d-\d\d|\d\d-\d\d-\d{2,4})"
_BANK_WORDING = re.compile(
    r"(?:(?:"
    r"(?:RECURRING |NON-?PIN |PIN |SIGNATURE |POS |MOBILE |CONTACTLESS |INTERNATIONAL |VISA |MASTERCARD |MC )*"
    r"(?:(?:DEBIT|CHECK|CREDIT|BANK|ATM|VISA) ?)?(?:CARD )?"
    r"(?:PURCHASE|PAYMENT|PURCH|PUR|WITHDRAWAL)(?: WITH PIN)? (?:AUTHORIZED ON|RETURN AUTHORIZED ON) " + _DATE + r"|"
    r"(?:(?:RECURRING|POS|VISA|MASTERCARD|SIGNATURE|PIN|MOBILE|CONTACTLESS|ONLINE|DDA|BANK|ATM|EXT) )*"
    r"(?:DEBIT|CHECK|CREDIT|VISA) ?CARD(?: (?:PURCHASE|PURCH|PUR|PAYMENT|DEBIT|WITHDRAWAL|TRANSACTION))?(?: -(?= ))?|"
    r"(?:RECURRING )?POS (?:SIGNATURE |PIN )?(?:DEBIT|PURCHASE|PURCH|PUR|WITHDRAWAL|TRANSACTION|WD)|"
    r"POS(?= [A-Z])|"
    r"CHECKCARD|CHKCARD|CHKCRD|DBT CRD|DBT PURCHASE|DEBIT PURCHASE(?: ?-)?(?: ?VISA)?|VISA DDA PUR(?: AP)?|"
    r"DDA (?:PURCHASE|PUR)(?: AP)?|(?:VISA|MASTERCARD|SIGNATURE|PIN|CARD|CONTACTLESS|MOBILE|RECURRING|WEB|ONLINE) "
    r"(?:PURCHASE|PURCH|PUR|DEBIT|PMT|PAYMENT TO)|"
    r"ACH (?:DEBIT|WITHDRAWAL|PAYMENT|PMT|TRANSACTION|ELECTRONIC DEBIT|HOLD)|ACH(?= [A-Z])|"
    r"(?:PREAUTHORIZED|PRE-AUTHORIZED|PREAUTH|ELECTRONIC|EXTERNAL) (?:ACH )?(?:DEBIT|WITHDRAWAL|PAYMENT|PMT)|"
    r"WITHDRAWAL (?:DEBIT CARD|ACH|POS|VISA)|"
    r"PENDING(?: -)?(?= )|RECURRING(?= [A-Z])|APLPAY|GGLPAY|APPLE PAY(?= [A-Z]{3})|GOOGLE PAY(?= [A-Z]{3})"
    r")(?=[ :*#-]|$)[ :*#-]*"
    r"(?:(?:(?!1800 )\d{4,6}(?= +[A-Z\d])|X+\d{2,4}|" + _DATE + r"|\d\d:\d\d(?::\d\d)?(?: ?[AP]M)?) *)*)+"
)
_PROCESSORS = re.compile(
    r"(?:"
    r"(?:GOSQ\.COM|SQC?|TST|PAYPAL|PYPL|PP|SP|BT|BTREE|STRIPE|CLV|CLOVER|TOAST|SUMUP|ZETTLE|IZ|ADY|CKO|WPY|WL|LS|PY|"
    r"IN|DRI|FSP|FS|PADDLE\.NET|PADDLE|2CO\.COM|2CO|CTLP|SPO|SPOTON|KLARNA|SEZZLE|FLYWIRE|XSOLLA|POSHMRK|PAR|NYA|NYX|"
    r"EB|ACT|CCI|RCI|MSP|BLS|CKE|GPAY|APAY|AMAZON PAY|SHOPPAY|SHOP PAY) ?\*+ ?|"
    r"PAYPAL (?:INST XFER|DES:INST XFER|INSTANT TRANSFER) (?:ID:)?|"
    r"SP (?!PLUS\b|\+|\d)(?=[A-Z&]{2})|"
    r"SQ (?=[A-Z]{3})|TST[- ]+(?=[A-Z]{3})|HLU\*(?=HULU)|[DP]P[ -]\*"
    r")+"
)
# The company that was paid is at the front; a restaurant, a shop or a customer follows.
_FRONT = re.compile(
    r"(?P<DOORDASH>(?:DD[ *]+)?DOOR ?DASH(?![A-Z]))|"
    r"(?P<UBEREATS>UBER[ *]*EATS\b)|"
    r"(?P<INSTACART>IC ?\*|INSTACART\b|[A-Z' ]{3,30} BY INSTACAR)|"
    r"(?P<GRUBHUB>GRUB ?HUB)|(?P<POSTMATES>POSTMATES)|(?P<SEAMLESS>SEAMLESS ?\*|SEAMLSS ?\*)|(?P<CAVIAR>CAVIAR ?\*)|"
    r"(?P<SHIPT>SHIPT ?\*)|(?P<GOPUFF>GOPUFF)|(?P<TICKETMASTER>TM ?\*)|"
    r"(?P<AMZNMKTP>(?:AMZN|AMAZON)(?:\.COM)?[ *]*(?:MKTP|MKTPL|MKTPLC|MKTPLACE|MARKETPLACE|MKT)\b)|"
    r"(?P<AMAZONCOM>(?:AMZN|AMAZON)\.COM ?\*|AMAZON\.COM [A-Z0-9]{9}(?= |$))|"
    r"(?P<MURPHYUSA>MURPHY ?\d+ ?ATW)|(?P<LYFT>LYFT ?\*|LYFT +\d+ RIDE)|(?P<EBAY>EBAY O ?\*)|"
    r"(?P<ETSY>ETSY(?:\.COM)? ?[*-])|"
    r"(?P<VENMO>VENMO\b)|(?P<CASHAPP>CASH ?APP ?\*|SQ ?\*? ?CASH ?APP)|"
    r"(?P<ZELLE>ZELLE ?\*|ZELLE (?:TO|FROM|PAYMENT|PMT|TRANSFER|SENT|INSTANT|DEBIT)\b|ZEL TO\b)"
)
_FRONT_KEYS = {
    "UBEREATS": "UBER EATS",
    "AMZNMKTP": "AMZN MKTP",
    "AMAZONCOM": "AMAZON.COM",
    "CASHAPP": "CASH APP",
    "MURPHYUSA": "MURPHY USA",
}
# From here on a descriptor contains only banking details.
_TAIL = re.compile(
    r" DES:| (?:PPD|WEB|CCD|TEL|CTX) ID\b| INDN:| CO ID:| CARD (?:ENDING |NO |NUMBER )?(?:IN )?[X#*\d]| CARD\d{4}|"
    r" [SP]\d{12,}| X{2,}-?\d{2,}| \*{2,}\d{2,}| (?:REF|AUTH|TRACE|CONF|SEQ|TRAN|TRN|INV|INVOICE|ORDER|ID|ACCT)"
    r"(?: ?NO\.?| ?NUM| ?ID)? ?[#:]| (?:REF|AUTH|TRACE|CONFIRMATION) ?(?=[A-Z]*\d)"
)
_PHONE = re.compile(
    r"(?<![A-Z0-9])(?:\+?1[-. ]?)?(?:\(?\d{3}\)?[-. /]{1,2}\d{3}[-. ]?\d{4}|\d{3}-\d{7}"
    r"|1?8(?:00|33|44|55|66|77|88)\d{7})(?!\d)"
)
_TOLL_FREE_NAME = re.compile(r"(?<![A-Z0-9])1?[- .]?8(00|88)[- .]?(?=[A-Z]{4})")
_DATES = re.compile(r"(?<![\d/-])(?:" + _DATE + r"|\d\d?:\d\d(?::\d\d)?(?: ?[AP]M\b)?)(?![\d/-])")
_TLD = r"COM|NET|ORG|IO|TV|AI|CO|APP|US|ME|GG|FM|DEV|EDU|GOV|SHOP|STORE|CO\.UK|CA"
_PLUS = re.compile(r"(?<=[A-Z])\+")
_GLUED_NUMBER = re.compile(r"(?<=\.COM)(?=\d)")
_STUCK_NUMBER = re.compile(r"(?<=[A-Z]{4})(\d{4,})|(?<=AIR)(\d{7,})")
_T_STORE = re.compile(r"(?<= )T-?\d{3,5}(?= |$)")
_DOMAIN = re.compile(r"(?:HTTPS?:/*)?((?:[A-Z0-9-]+\.)*)([A-Z0-9&-]+)\.(" + _TLD + r")(?![A-Z0-9.])((?:/[^ ]*)?)")
_INITIALS = re.compile(r"(?<![A-Z0-9.])(?:[A-Z]\.){2,}[A-Z]?(?![A-Z0-9])")
_SPLIT = re.compile(r"[-*#/:@+]+")
_LEADING_DATE = re.compile(_DATE + r" +(?=[A-Z]{2})")
_KEEP_DOT = re.compile(r"\.(?!(?:" + _TLD + r")(?:\.UK)?(?: |$))|(?<![A-Z0-9&])\.")
_AMPERSAND = re.compile(r" *& *")
_SHORT_AMPERSAND = re.compile(r"(?<![A-Z0-9.&])([A-Z0-9]{1,2}) & ([A-Z0-9]{1,2})(?![A-Z0-9.])")
# The first two letters of everything that _BANK_WORDING, _PROCESSORS without a star and _FRONT can match.
_BANK_STARTS = frozenset(
    "RE NO PI SI PO MO CO IN VI MA MC DE CH CR BA AT CA PU PA WI ON DD EX DB WE AC PR EL PE AP GG GO".split()
)
_PROCESSOR_STARTS = frozenset("SP SQ TS PA".split())
_FRONT_STARTS = frozenset("DD DO UB IC IN GR PO SE CA SH GO TM AM EB ET VE SQ ZE LY MU".split())
_HAS_DIGIT = re.compile(r"\d")
_EDGES = " -*:#./@"
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


def is_place(text: str) -> bool:
    """Whether upper-case text is a city, a state, or a city and a state, of the United States."""
    if text in _STATES or text in _CITIES:
        return True
    city, _, state = text.rpartition(" ")
    return state in _STATES and city in _CITIES


def _is_number(token: str) -> bool:
    """Whether a token is a store number, a zip code or a reference rather than part of a name."""
    if token.isalpha() or "." in token:
        return False
    digits = sum(c.isdigit() for c in token)
    if digits == len(token):
        return digits >= 3
    if digits >= 3:
        return not token.startswith("1800")
    if digits == 2 and token[0] == "Q" and len(token) == 3:
        return True  # a terminal: Q03
    return digits == 2 and len(token) >= 6 and not token[-2:].isdigit()


def _strip_place(tokens: list[str]) -> None:
    """Remove country, state and city from the end, in place, as long as a name remains."""
    # MURPHY USA and SPOTIFY USA are names; after two or more words the country is only a location.
    while len(tokens) > 1 and tokens[-1] in _COUNTRIES and len(tokens[-2]) > 1 and tokens[1:] != ["USA"]:
        tokens.pop()
    if len(tokens) > 1 and tokens[-1] in _STATES and tokens[-2] != "&":
        if tokens[-1] in _WORD_STATES and not any(" ".join(tokens[-n - 1 : -1]) in _CITIES for n in (1, 2, 3)):
            return
        tokens.pop()
        for size in (3, 2, 1):
            if len(tokens) > size and " ".join(tokens[-size:]) in _CITIES and tokens[-size - 1] not in ("&", "T"):
                del tokens[-size:]
                break


def _cut_numbers(tokens: list[str]) -> list[str]:
    """Remove store numbers and references, and the place after the first of them."""
    for i in range(1, len(tokens)):
        if tokens[i].isalpha() or not _is_number(tokens[i]) or (i == 1 and tokens[0] in _GENERIC):
            continue
        head, tail = tokens[:i], [t for t in tokens[i + 1 :] if not _is_number(t)]
        while len(head) > 1 and head[-1] in _NUMBER_WORDS:
            head.pop()
        place = not tail or tail[-1] in _STATES or tail[-1] in _COUNTRIES or " ".join(tail) in _CITIES
        return head if place else head + tail
    return tokens


def _apply_rules(text: str) -> str:
    """Apply the rules once to upper-case text."""
    text = text.strip(_EDGES)
    if text[:1].isdigit() and (match := _LEADING_DATE.match(text)):
        text = text[match.end() :]
    # Try the large patterns only where they can match: most descriptors start with the merchant.
    if text[:2] in _BANK_STARTS and (match := _BANK_WORDING.match(text)):
        text = text[match.end() :].strip(_EDGES) or text
    if ("*" in text or text[:2] in _PROCESSOR_STARTS) and (match := _PROCESSORS.match(text)):
        text = text[match.end() :].lstrip(_EDGES) or text
    if (text[:2] in _FRONT_STARTS or " BY INSTACAR" in text) and (match := _FRONT.match(text)):
        return _FRONT_KEYS.get(match.lastgroup or "", match.lastgroup or "")
    if not _ONLY_LETTERS.match(text):
        text = _without_noise(text)
    return _join(text.split())


def _without_noise(text: str) -> str:
    """Remove dates, phone numbers, references and punctuation, except ``&`` and the dot of a web address."""
    if (match := _TAIL.search(text)) and match.start() > 1:
        text = text[: match.start()]
    if "+" in text:
        text = _PLUS.sub(" PLUS", text)
    if _HAS_DIGIT.search(text):
        text = _STUCK_NUMBER.sub(r" \g<0> ", text)
        text = _TOLL_FREE_NAME.sub(r" 18\1", text)
        text = _DATES.sub(" ", _PHONE.sub(" 00000 ", text)) if text[0].isalpha() else text
        text = text.replace("#", " 000") if "#" in text else text
        text = _T_STORE.sub(" 00000 ", text)
    if "." in text:
        text = _INITIALS.sub(lambda m: m[0].replace(".", ""), text)
        text = _DOMAIN.sub(_domain, _GLUED_NUMBER.sub(" ", text))
        text = _KEEP_DOT.sub(" ", text)
    return _SPLIT.sub(" ", text)


def _join(tokens: list[str]) -> str:
    """Build the key from tokens: without numbers, place, legal form and leading article, ``&`` spaced uniformly."""
    if len(tokens) > 1:
        tokens = _cut_numbers(tokens)
        _strip_place(tokens)
        while len(tokens) > 1 and tokens[-1] in _TRAILING_NOISE and tokens[-2] != "&":
            tokens.pop()
        if len(tokens) > 1 and tokens[0] == "THE":
            del tokens[0]
    key = " ".join("&" if word == "AND" else word for word in tokens)
    if "&" in key:
        key = _SHORT_AMPERSAND.sub(r"\1&\2", _AMPERSAND.sub(" & ", key)).strip()
    return key


def normalise_uncached(descriptor: str) -> str:
    """Compute the merchant key without the cache; see :func:`normalise`."""
    # Real descriptors are far shorter; the limit keeps hostile text from costing seconds.
    descriptor = descriptor.strip()[:_READ_LENGTH]
    text = _fold(descriptor).translate(_ASCII)
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
