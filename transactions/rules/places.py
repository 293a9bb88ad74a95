"""Cities and states of the United States, as bank descriptors write them.

A city counts only with its state, so that a common word that is also a town somewhere (HAPPY, STAR, OPAL) stays
in a merchant's name. A large city counts before any state, and after a store number without one.

Banks cut a city off (SAN FRANCISC CA) and write it without blanks before its state (SEATTLEWA, NEW YORKNY) or after
the merchant (COFFEENEW YORK NY). The list of cities is `data/us_cities.txt`; `data/README.md` names its source.
"""

import tomllib
from bisect import bisect_left
from pathlib import Path

_DATA = Path(__file__).parent.parent / "data"
_WORDS = {name: frozenset(words.split()) for name, words in tomllib.loads((_DATA / "places.toml").read_text()).items()}
STATES, _WORD_STATES, COUNTRIES = _WORDS["states"], _WORDS["word_states"], _WORDS["countries"]
_TOWN_WORDS = 3  # of a city that is_town compares
_CITY_WORDS = 4  # of the longest city compared
_SHORTEST_CUT = 8  # letters of a city that was cut off
_SHORTEST_BEGINNING = 6  # letters of a city that is_town compares
_NAME_FIELDS = (20, 22, 23, 25)  # letters that banks' records have for the name
_FIELDS = (12, 13)  # letters that banks' and card networks' records have for the city


_CITIES: set[str] = set()
_SORTED: list[str] = []
_LARGE: set[str] = set()
_PAIRS: set[str] = set()  # a city, also cut off, and its state
_LARGE_PAIRS: set[str] = set()
_WORDS_BY_LAST: dict[str, int] = {}  # of the longest city that ends in a word


def _load() -> None:
    """Fill the sets above at the first use: most processes never compare a place."""
    large: set[str] = set()
    cities: set[str] = set()
    for line in (_DATA / "us_cities.txt").read_text(encoding="ascii").splitlines():
        city, states, *mark = line.split("\t")
        cities.add(city)
        if mark:
            large.add(city)
        written = [city]
        for size in (len(city) - 1, *_FIELDS):
            if _SHORTEST_CUT <= size < len(city):
                written.append(city[:size].rstrip())
        for each in written:
            words = each.count(" ") + 1
            if words > 1:
                last = each[each.rindex(" ") + 1 :]
                _WORDS_BY_LAST[last] = max(words, _WORDS_BY_LAST.get(last, 1))
        for state in states.split(" "):
            for each in written:
                _PAIRS.add(f"{each} {state}")
            if mark:
                _LARGE_PAIRS.add(f"{city} {state}")
    _SORTED[:] = sorted(large)
    _LARGE.update(large)
    _CITIES.update(cities)  # the last one, because other threads check whether it is filled


def is_place(text: str) -> bool:
    """Whether upper-case text is a large city, a state, or a city and its state, of the United States."""
    if not _CITIES:
        _load()
    if text in STATES or text in _LARGE or text in _PAIRS:
        return True
    city, _, state = text.rpartition(" ")
    return state in STATES and city in _LARGE


def is_town(text: str) -> bool:
    """Whether upper-case text is likely a city of the United States: a large one, also cut off or with other words."""
    if not _CITIES:
        _load()
    if len(text) >= _SHORTEST_BEGINNING:
        i = bisect_left(_SORTED, text)
        if i < len(_SORTED) and _SORTED[i].startswith(text):
            return True
    words = text.split(" ")
    if len(words) > 1 and text in _CITIES:
        return True
    return any(
        " ".join(words[:size]) in _LARGE or " ".join(words[-size:]) in _LARGE
        for size in range(1, min(len(words), _TOWN_WORDS) + 1)
    )


def split_fields(text: str) -> str:
    """Separate a name that fills its field from the city that follows it: DICK'S SPORTICORAOPOLIS PA."""
    if text[-2:] not in STATES or text[-3:-2] != " ":
        return text
    if not _CITIES:
        _load()
    for width in _NAME_FIELDS:
        if not text[width - 1 : width + 3].isalnum() or " ".join(text[width:].split()) not in _PAIRS:
            continue
        start = text.rfind(" ", 0, width) + 1
        if " ".join(text[start:].split()) not in _PAIRS:  # SOUTHAMPTON contains HAMPTON
            return f"{text[:width]} {text[width:]}"
    return text


def _city_size(tokens: list[str], state: str) -> tuple[int, int]:
    """Return how many tokens at the end are a city of the state, and how many are a large city."""
    city = tokens[-1]
    own, large = int(f"{city} {state}" in _PAIRS), int(city in _LARGE)
    for number in range(2, min(len(tokens), _WORDS_BY_LAST.get(city, 1)) + 1):
        city = f"{tokens[-number]} {city}"
        if f"{city} {state}" in _PAIRS:
            own = number
        if city in _LARGE:
            large = number
    return own, large


def _glued_state(tokens: list[str]) -> str:
    """Return the state at the end of the last token if a city is before it: SEATTLEWA, NEW YORKNY."""
    last = tokens[-1]
    state = last[-2:]
    if len(last) < 5 or state not in STATES:
        return ""
    city = f"{last[:-2]} {state}"
    for number in range(1, min(len(tokens), _CITY_WORDS) + 1):
        if number > 1:
            city = f"{tokens[-number]} {city}"
        if city in _PAIRS:
            return state
    return ""


def _remove_glued_city(tokens: list[str], state: str) -> bool:
    """Remove a large city that follows the name without a blank, in place: COFFEENEW YORK."""
    rest = ""
    for number in range(1, min(len(tokens), _CITY_WORDS) + 1):
        token = tokens[-number]
        if number == 1 and token in _CITIES:
            rest = f" {token}"
            continue  # SOUTHAMPTON contains HAMPTON
        for start in range(3, len(token) - 2):
            city = token[start:] + rest
            if len(city) > 4 and f"{city} {state}" in _LARGE_PAIRS:
                tokens[-number:] = [token[:start]]
                return True
        rest = f" {token}{rest}"
    return False


def ends_in_place(tokens: list[str]) -> bool:
    """Whether the tokens end in a state or a country, or are a city."""
    if not _CITIES:
        _load()
    if not tokens:
        return False
    return tokens[-1] in STATES or tokens[-1] in COUNTRIES or " ".join(tokens) in _LARGE or _glued_state(tokens) != ""


def strip_place(tokens: list[str]) -> None:
    """Remove country, state and city from the end, in place, as long as a name remains."""
    if not _CITIES:
        _load()
    # MURPHY USA and SPOTIFY USA are names; after two or more words the country is only a location.
    while len(tokens) > 1 and tokens[-1] in COUNTRIES and len(tokens[-2]) > 1 and tokens[1:] != ["USA"]:
        tokens.pop()
    if len(tokens) < 2:
        return
    state = tokens[-1]
    if state not in STATES:
        state = _glued_state(tokens)
        if not state:
            return
        tokens[-1] = tokens[-1][:-2]
        tokens.append(state)
    if tokens[-2] == "&":
        return
    own, large = _city_size(tokens[:-1], state)
    if state in _WORD_STATES and not own and not large:
        return
    tokens.pop()
    size = own
    if not own:
        if _remove_glued_city(tokens, state):
            return
        size = large
    # T MOBILE is a name, though Mobile is a city.
    if size and len(tokens) > size and tokens[-size - 1] != "&" and tokens[-2:] != ["T", "MOBILE"]:
        del tokens[-size:]
