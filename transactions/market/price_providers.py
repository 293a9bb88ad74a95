"""Where quotes come from: providers behind one small interface.

A provider answers `quotes(tickers)` with what it knows, good and bad, one by one; it never guesses and never stores.
`PRICE_PROVIDER` chooses: `csv` (a file, `PRICE_CSV_PATH`) or `http` (a quote API, `PRICE_API_URL`). The request and
the reply of the API are described in `docs/prices.md`. Prices are dollars a share, exact decimals from the text on.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Protocol

import requests
from django.conf import settings
from django.utils import timezone
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from kamioi_site.http.outbound_urls import OutboundURLError, check_outbound_url
from transactions.errors import PriceProviderError

MAX_REPLY_BYTES = 4 * 1024 * 1024
SYMBOLS_A_REQUEST = 100
# As many as fit `stock_prices.price`.
PRICE_PLACES, PRICE_DIGITS = Decimal("0.0001"), Decimal("9999999999")


@dataclass(frozen=True, slots=True)
class Quote:
    """What one share cost, in dollars, at an aware time."""

    ticker: str
    price: Decimal
    as_of: datetime


@dataclass(frozen=True, slots=True)
class QuoteError:
    """A quote that cannot be used: whose, and why. `ticker` is empty where not even that is known."""

    ticker: str
    reason: str


class PriceProvider(Protocol):
    """Something that knows prices."""

    name: str

    def quotes(self, tickers: Sequence[str]) -> Iterator[Quote | QuoteError]:
        """What is known of these tickers, in any order; others may be among it and are left alone.

        Raises:
            PriceProviderError: nothing (more) can be had now.
        """
        ...


def price_provider() -> PriceProvider:
    """The provider that the settings name.

    Raises:
        PriceProviderError: the settings name none, or not all it needs.
    """
    if settings.PRICE_PROVIDER == "csv":
        return CsvPrices(Path(settings.PRICE_CSV_PATH))
    if settings.PRICE_PROVIDER == "http":
        return HttpPrices(settings.PRICE_API_URL, settings.PRICE_API_KEY)
    raise PriceProviderError(f"PRICE_PROVIDER is {settings.PRICE_PROVIDER!r}; it must be csv or http.")


class CsvPrices:
    """A file with the columns `symbol,price[,as_of]`; without `as_of` a quote is as old as its reading."""

    name = "csv"

    def __init__(self, path: Path) -> None:
        self.path = path

    def quotes(self, tickers: Sequence[str]) -> Iterator[Quote | QuoteError]:
        """The rows of the file, whoever is asked for: it costs nothing to know more."""
        now = timezone.now()
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file)
                missing = {"symbol", "price"} - {name.strip().lower() for name in rows.fieldnames or ()}
                if missing:
                    raise PriceProviderError(f"{self.path} has no column {' and no column '.join(sorted(missing))}.")
                for row in rows:
                    values = {str(name).strip().lower(): value or "" for name, value in row.items()}
                    found = _quote(values["symbol"], values["price"], values.get("as_of") or now)
                    if isinstance(found, QuoteError):
                        found = QuoteError(found.ticker, f"row {rows.line_num}: {found.reason}")
                    yield found
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise PriceProviderError(f"The quotes in {self.path} cannot be read: {error}") from error


class HttpPrices:
    """A quote API over HTTP.

    Time-outs, 429 (its `Retry-After` is honoured) and 5xx are tried again with growing pauses. What still fails ends
    the refresh; what came before it is kept.
    """

    name = "http"

    def __init__(self, url: str, key: str = "", *, timeout: float = 10, tries: int = 4, pause: float = 0.5) -> None:
        try:
            check_outbound_url(url, name="PRICE_API_URL", allow_http=settings.PRICE_ALLOW_HTTP)
        except OutboundURLError as error:
            raise PriceProviderError(str(error)) from error
        self.url, self.timeout = url, timeout
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"
        retry = Retry(
            total=tries - 1,
            backoff_factor=pause,
            backoff_jitter=pause,
            backoff_max=30,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods={"GET"},
            raise_on_status=False,
            raise_on_redirect=False,
            redirect=0,
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def quotes(self, tickers: Sequence[str]) -> Iterator[Quote | QuoteError]:
        """One request for each hundred symbols."""
        for start in range(0, len(tickers), SYMBOLS_A_REQUEST):
            asked = tickers[start : start + SYMBOLS_A_REQUEST]
            missing = set(asked)
            for item in self._fetch(asked):
                if not isinstance(item, dict):
                    yield QuoteError("", f"an entry is no object but {str(item)[:40]!r}")
                    continue
                found = _quote(item.get("symbol"), item.get("price"), item.get("as_of"))
                if found.ticker and found.ticker not in asked:
                    yield QuoteError(found.ticker, "nobody asked for this symbol")
                    continue
                missing.discard(found.ticker)
                yield found
            for ticker in sorted(missing):
                yield QuoteError(ticker, "the provider has no quote")

    def _fetch(self, symbols: Sequence[str]) -> list[Any]:
        try:
            with self._session.get(
                self.url,
                params={"symbols": ",".join(symbols)},
                timeout=self.timeout,
                stream=True,
                allow_redirects=False,
            ) as reply:
                body = reply.raw.read(MAX_REPLY_BYTES + 1, decode_content=True)
        except (requests.RequestException, OSError) as error:
            raise PriceProviderError(f"The price provider does not answer: {type(error).__name__}.") from error
        except Exception as error:  # urllib3's own, raised while the body is read
            raise PriceProviderError(f"The price provider broke off: {type(error).__name__}.") from error
        if reply.status_code != 200:
            raise PriceProviderError(f"The price provider answers with status {reply.status_code}.")
        if len(body) > MAX_REPLY_BYTES:
            raise PriceProviderError(f"The price provider's answer is longer than {MAX_REPLY_BYTES:,} bytes.")
        try:
            # Decimals from the text on: a float would change the price.
            answer = json.loads(body, parse_float=Decimal, parse_int=Decimal)
            quotes = answer["quotes"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PriceProviderError('The price provider\'s answer is no JSON object with "quotes".') from error
        if not isinstance(quotes, list):
            raise PriceProviderError('The price provider\'s "quotes" is no list.')
        return quotes


def _quote(ticker: object, price: object, as_of: object) -> Quote | QuoteError:
    """The quote, if it is one: a positive price and a time with a zone."""
    if not isinstance(ticker, str) or not (name := ticker.strip().upper()) or len(name) > 12:
        return QuoteError("", f"{str(ticker)[:40]!r} is no ticker")
    try:
        if not isinstance(price, str | Decimal):
            raise InvalidOperation
        exact = Decimal(price.strip() if isinstance(price, str) else price)
        if not (exact.is_finite() and 0 < exact <= PRICE_DIGITS):
            raise InvalidOperation
        exact = exact.quantize(PRICE_PLACES)
        if exact <= 0:
            raise InvalidOperation
    except InvalidOperation:
        return QuoteError(name, f"{str(price)[:40]!r} is no price")
    try:
        moment = datetime.fromisoformat(as_of.strip()) if isinstance(as_of, str) else as_of
    except ValueError:
        return QuoteError(name, f"{str(as_of)[:40]!r} is no ISO time")
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        return QuoteError(name, "the time of the quote is missing or has no zone")
    return Quote(name, exact, moment.astimezone(UTC))
