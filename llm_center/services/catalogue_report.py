"""What a newer SEC list changes: companies that were delisted, renamed or got another ticker, and who is affected.

Companies are compared by CIK, because a ticker may pass to another company. Nothing is stored: `import_companies`
applies a list, and `recheck_directory` takes merchants of delisted companies back to review.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.db.models import Count, Sum

from llm_center.catalogue import US_EXCHANGES, load_brands, load_companies
from transactions.models import Holding, Merchant

Change = Literal["delisted", "ticker changed", "renamed", "now over the counter", "new"]
_COLUMNS = ("ticker", "name", "exchange", "cik")


@dataclass(frozen=True, slots=True)
class ListedCompany:
    """A row of the list. Share classes have a dot."""

    ticker: str
    name: str
    exchange: str
    cik: int

    @property
    def is_listed(self) -> bool:
        return self.exchange in US_EXCHANGES


@dataclass(frozen=True, slots=True)
class CompanyChange:
    """A change of one company, and what of ours has its old ticker.

    Attributes:
        new: the new ticker or name, empty if there is none.
        brands: names in the catalogue.
        merchants: approved merchants.
        waiting: transactions that wait at them.
        customers: customers who own its shares.
    """

    change: Change
    ticker: str
    name: str
    new: str = ""
    brands: tuple[str, ...] = ()
    merchants: int = 0
    waiting: int = 0
    customers: int = 0

    @property
    def affects(self) -> bool:
        return bool(self.brands or self.merchants or self.customers)


def read_sec_list(path: Path) -> list[ListedCompany]:
    """Read the SEC's `company_tickers_exchange.json`, or a CSV file with the columns ticker, name, exchange and cik.

    Raises:
        ValueError: the file is neither.
    """
    text = path.read_text(encoding="utf-8-sig")
    rows: Iterable[dict[str, object]]
    if text.lstrip().startswith("{"):
        data = json.loads(text)
        if not isinstance(data, dict) or not {"fields", "data"} <= data.keys():
            raise ValueError("the JSON file must have the keys fields and data")
        rows = (dict(zip(data["fields"], row, strict=True)) for row in data["data"])
        fields = set(data["fields"])
    else:
        reader = csv.DictReader(text.splitlines())
        rows, fields = reader, set(reader.fieldnames or ())
    if missing := [name for name in _COLUMNS if name not in fields]:
        raise ValueError(f"there is no column {', '.join(missing)}")
    companies = [
        ListedCompany(
            ticker=str(row["ticker"]).strip().upper().replace("-", "."),
            name=str(row["name"]).strip(),
            exchange=str(row["exchange"] or "").strip(),
            cik=int(str(row["cik"])),
        )
        for row in rows
    ]
    if not companies:
        raise ValueError("the file has no rows")
    return companies


def compare_with_list(companies: Sequence[ListedCompany]) -> list[CompanyChange]:
    """Return the changes of listed companies, those that affect us most first."""
    brands: dict[str, list[str]] = {}
    for brand in load_brands():
        if brand.ticker:
            brands.setdefault(brand.ticker, []).append(brand.name)
    changes = list(_compare(companies))
    tickers = [change.ticker for change in changes]
    approved: dict[str | None, tuple[int, int]] = {
        ticker: (merchants, waiting)
        for ticker, merchants, waiting in Merchant.objects.filter(status=Merchant.Status.APPROVED, ticker__in=tickers)
        .values_list("ticker")
        .annotate(merchants=Count("pk"), waiting=Sum("waiting_count"))
    }
    owners = Counter(
        dict(
            Holding.objects.filter(ticker__in=tickers, shares__gt=0)
            .values_list("ticker")
            .annotate(customers=Count("user_id", distinct=True))
        )
    )
    found = [
        CompanyChange(
            change.change,
            change.ticker,
            change.name,
            change.new,
            tuple(brands.get(change.ticker, ())),
            *approved.get(change.ticker, (0, 0)),
            owners[change.ticker],
        )
        for change in changes
    ]
    return sorted(found, key=lambda row: (-row.customers, -row.merchants, -len(row.brands), row.ticker))


def _compare(companies: Sequence[ListedCompany]) -> Iterator[CompanyChange]:
    by_cik: dict[int, list[ListedCompany]] = {}
    for company in companies:
        by_cik.setdefault(company.cik, []).append(company)
    known = load_companies()
    for old in known.values():
        if not old.is_listed:
            continue
        now = by_cik.get(old.cik, [])
        same = next((row for row in now if row.ticker == old.ticker), None)
        other = next((row for row in now if row.is_listed and row.ticker not in known), None)
        if same is not None and same.is_listed:
            if same.name.casefold() != old.name.casefold():
                yield CompanyChange("renamed", old.ticker, old.name, same.name)
        elif other is not None:
            yield CompanyChange("ticker changed", old.ticker, old.name, other.ticker)
        elif same is not None:
            yield CompanyChange("now over the counter", old.ticker, old.name)
        else:
            yield CompanyChange("delisted", old.ticker, old.name)
    ciks = {company.cik for company in known.values()}
    for listed in companies:
        if listed.is_listed and listed.cik not in ciks:
            yield CompanyChange("new", listed.ticker, listed.name)
