"""The catalogue of companies and brands that ships with Kamioi.

``companies.csv.gz`` is the SEC's list of tickers with exchanges; ``brands.csv`` lists who owns a brand and whether that
owner can be bought on a US exchange. ``data/README.md`` lists sources, dates and licences. The rules:

* A brand has a ticker only if the company table lists it on one of `US_EXCHANGES`; over the counter is not enough.
* A brand without a ticker has a reason: ``unknown`` means that nothing is known, any other reason means "not
  investable".
* Share classes are written with a dot (BRK.B).

Both files are read once per process and never written. Edits made in the admin are stored in the database.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

DATA = Path(__file__).parent / "data"
# Exchanges whose listings are investable; the SEC counts NYSE American under NYSE.
US_EXCHANGES = frozenset({"NYSE", "NYSE American", "Nasdaq", "Cboe"})
# Reason of a brand whose owner has not been researched: it proves nothing.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Company:
    """A ticker as the SEC lists it; ``exchange`` may be empty, ``cik`` is the SEC's company number."""

    ticker: str
    name: str
    exchange: str
    cik: int
    as_of: date

    @property
    def is_listed(self) -> bool:
        """Whether the share trades on a US exchange and may be bought."""
        return self.exchange in US_EXCHANGES


@dataclass(frozen=True, slots=True)
class Brand:
    """A brand name, its spellings on statements, and its owner; ``ticker`` is empty if no share can be bought.

    ``as_of`` is when the owner was looked up, as a year, a month or a day.
    """

    name: str
    aliases: tuple[str, ...]
    owner: str
    ticker: str
    reason: str
    category: str
    source: str
    as_of: str

    @property
    def is_unknown(self) -> bool:
        """Whether the owner has not been researched."""
        return self.reason == UNKNOWN


def read_companies() -> Iterator[Company]:
    """Read the shipped company table, in order of tickers."""
    with gzip.open(DATA / "companies.csv.gz") as packed, io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            yield Company(
                ticker=row["ticker"],
                name=row["name"],
                exchange=row["exchange"],
                cik=int(row["cik"]),
                as_of=date.fromisoformat(row["as_of"]),
            )


@lru_cache(maxsize=1)
def load_companies() -> dict[str, Company]:
    """Return the shipped company table by ticker."""
    return {company.ticker: company for company in read_companies()}


def set_catalogue(brands: Sequence[Brand], companies: Iterable[Company]) -> None:
    """Replace the shipped brands in this process, and add the companies that own the new ones."""
    global _current  # noqa: PLW0603  # one catalogue per process
    load_companies().update((company.ticker, company) for company in companies)
    _current = tuple(brands)


def load_brands() -> tuple[Brand, ...]:
    """Return the current catalogue: the shipped one, unless `set_catalogue` replaced it."""
    return _current if _current is not None else shipped_brands()


_current: tuple[Brand, ...] | None = None


@lru_cache(maxsize=1)
def shipped_brands() -> tuple[Brand, ...]:
    """Return the shipped brand catalogue, in order of names."""
    with (DATA / "brands.csv").open(encoding="utf-8", newline="") as text:
        return tuple(
            Brand(
                name=row["brand"],
                aliases=tuple(filter(None, row["aliases"].split("|"))),
                owner=row["owner"],
                ticker=row["ticker"],
                reason=row["reason"],
                category=row["category"],
                source=row["source"],
                as_of=row["as_of"],
            )
            for row in csv.DictReader(text)
        )


@lru_cache(maxsize=1)
def load_word_frequencies() -> dict[str, float]:
    """Return how frequent words are in English, on the Zipf scale (3: once in a million words); others are rarer."""
    return _read_numbers("word_frequencies.csv", "zipf")


@lru_cache(maxsize=1)
def load_local_words() -> dict[str, float]:
    """Return words of local merchants (positive) and of brands (negative), as log odds in the labelled descriptors."""
    return _read_numbers("local_words.csv", "log_odds")


def _read_numbers(name: str, column: str) -> dict[str, float]:
    with (DATA / name).open(encoding="utf-8", newline="") as text:
        return {row["word"]: float(row[column]) for row in csv.DictReader(text)}


@lru_cache(maxsize=1)
def load_words() -> dict[str, str]:
    """Return how ambiguous a spelling is, by merchant key: ``common``, ``known`` or ``other``.

    ``common`` is also an ordinary word, family name or place, so it proves little on its own. ``known`` is such a word
    that on a statement still means the brand (TARGET). ``other`` is the start of a different merchant's name (HILTON
    HEAD). Spellings that are not listed are distinctive.
    """
    with (DATA / "words.csv").open(encoding="utf-8", newline="") as text:
        return {row["key"]: row["kind"] for row in csv.DictReader(text)}
