"""What Kamioi knows of companies and brands before anybody has decided anything: two tables shipped as data.

``companies.csv.gz`` is the SEC's list of tickers with exchanges, ``brands.csv`` says who owns a brand and whether that
owner can be bought on a US exchange. ``data/README.md`` names sources, dates and licences. Rules that hold here:

* a brand has a ticker only if the company table lists it on one of :data:`US_EXCHANGES`; over the counter is not enough;
* a brand without a ticker has a reason: ``unknown`` means nobody looked, any other reason means "not investable";
* share classes are written with a dot (BRK.B).

Both files are read once a process and never written: edits of an administrator live in the database.
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
US_EXCHANGES = frozenset({"NYSE", "NYSE American", "Nasdaq", "Cboe"})
"""Exchanges whose listings are investable; the SEC counts NYSE American under NYSE."""

UNKNOWN = "unknown"
"""Reason of a brand whose owner was not looked up: it proves nothing, in either direction."""


@dataclass(frozen=True, slots=True)
class Company:
    """A ticker as the SEC lists it; ``exchange`` is empty where the SEC names none, ``cik`` its number of the company."""

    ticker: str
    name: str
    exchange: str
    cik: int
    as_of: date

    @property
    def is_listed(self) -> bool:
        """Whether the share trades on a US exchange, so that it may be bought."""
        return self.exchange in US_EXCHANGES


@dataclass(frozen=True, slots=True)
class Brand:
    """A name on a shop front or a statement, its spellings, and its owner; ``ticker`` is empty if none can be bought."""

    name: str
    aliases: tuple[str, ...]
    owner: str
    ticker: str
    reason: str
    category: str
    source: str

    @property
    def is_unknown(self) -> bool:
        """Whether nobody looked up who owns the brand."""
        return self.reason == UNKNOWN


def read_companies() -> Iterator[Company]:
    """Every row of the shipped company table, in the order of tickers."""
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
    """The shipped company table by ticker."""
    return {company.ticker: company for company in read_companies()}


def set_catalogue(brands: Sequence[Brand], companies: Iterable[Company]) -> None:
    """Let these brands stand for the shipped ones in this process, with the companies that own them."""
    global _in_use  # noqa: PLW0603  # one catalogue a process is the point
    load_companies().update((company.ticker, company) for company in companies)
    _in_use = tuple(brands)


def load_brands() -> tuple[Brand, ...]:
    """The catalogue in use: the shipped one, unless `use_catalogue` gave another."""
    return _in_use if _in_use is not None else shipped_brands()


_in_use: tuple[Brand, ...] | None = None


@lru_cache(maxsize=1)
def shipped_brands() -> tuple[Brand, ...]:
    """The shipped brand catalogue, in the order of names."""
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
            )
            for row in csv.DictReader(text)
        )


@lru_cache(maxsize=1)
def load_words() -> dict[str, str]:
    """How far a brand's spelling proves the brand: merchant key → ``common``, ``known`` or ``other``.

    ``common`` is a word, a family name or a place as well as a brand: alone it proves little. ``known`` is such a word
    that alone on a statement is the brand all the same (TARGET). ``other`` starts the name of somebody else
    (HILTON HEAD): whatever begins with it is not the brand. Spellings that are not listed are taken as distinctive.
    """
    with (DATA / "words.csv").open(encoding="utf-8", newline="") as text:
        return {row["key"]: row["kind"] for row in csv.DictReader(text)}
