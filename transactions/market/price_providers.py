"""Providers of stock quotes behind one small interface.

A provider yields quotes and errors one by one; it never guesses and stores nothing. `PRICE_PROVIDER` selects it: `csv`
(a file, `PRICE_CSV_PATH`) or `http` (a quote API, `PRICE_API_URL`; see `docs/prices.md` for its request and response).
Prices are dollars per share, parsed from text to exact decimals.
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
from kamioi_site.numbers import parse_decimal
from transactions.errors import PriceProviderError

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
SYMBOLS_PER_REQUEST = 100
# The limits of the column `stock_prices.price`.
PRICE_PLACES, MAX_PRICE = Decimal("0.0001"), Decimal("9999999999")


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of one share in dollars at an aware time."""

    ticker: str
    price: Decimal
    as_of: datetime


@dataclass(frozen=True, slots=True)
class QuoteError:
    """A quote that cannot be used, and why. `ticker` is empty when it is unknown."""

    ticker: str
    reason: str


class PriceProvider(Protocol):
    """A source of quotes."""

    name: str

    def quotes(self, tickers: Sequence[str]) -> Iterator[Quote | QuoteError]:
        """Yield the quotes of these tickers, in any order; quotes of other tickers may be among them.

        Raises:
            PriceProviderError: no (further) quotes are available.
        """
        ...


def price_provider() -> PriceProvider:
    """Return the configured provider.

    Raises:
        PriceProviderError: the settings are incomplete.
    """
    if settings.PRICE_PROVIDER == "csv":
        return CsvPrices(Path(settings.PRICE_CSV_PATH))
    if settings.PRICE_PROVIDER == "http":
        return HttpPrices(settings.PRICE_API_URL, settings.PRICE_API_KEY)
    raise PriceProviderError(f"PRICE_PROVIDER is {settings.PRICE_PROVIDER!r}: without csv or http, purchases wait.")


class CsvPrices:
    """A file with the columns `symbol,price,as_of`; with PRICE_CSV_UNDATED, a quote without `as_of` is as of now."""

    name = "csv"

    def __init__(self, path: Path) -> None:
        self.path = path

    def quotes(self, tickers: Sequence[str]) -> Iterator[Quote | QuoteError]:
        """Yield all rows of the file, whatever the tickers."""
        undated = timezone.now() if settings.PRICE_CSV_UNDATED else None
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file)
                missing = {"symbol", "price"} - {name.strip().lower() for name in rows.fieldnames or ()}
                if missing:
                    raise PriceProviderError(f"{self.path} has no column {' and no column '.join(sorted(missing))}.")
                for row in rows:
                    values = {str(name).strip().lower(): value or "" for name, value in row.items()}
                    quote = _parse_quote(values["symbol"], values["price"], values.get("as_of") or undated)
                    if isinstance(quote, QuoteError):
                        quote = QuoteError(quote.ticker, f"row {rows.line_num}: {quote.reason}")
                    yield quote
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise PriceProviderError(f"The quotes in {self.path} cannot be read: {error}") from error


class HttpPrices:
    """A quote API over HTTP.

    Timeouts, 429 (with its `Retry-After`) and 5xx are retried with exponential backoff. A request that still fails ends
    the refresh; the quotes before it are stored.
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
        """Send one request per hundred symbols."""
        for start in range(0, len(tickers), SYMBOLS_PER_REQUEST):
            requested = tickers[start : start + SYMBOLS_PER_REQUEST]
            missing = set(requested)
            for item in self._fetch(requested):
                if not isinstance(item, dict):
                    yield QuoteError("", f"the entry {str(item)[:40]!r} is not an object")
                    continue
                quote = _parse_quote(item.get("symbol"), item.get("price"), item.get("as_of"))
                if quote.ticker and quote.ticker not in requested:
                    yield QuoteError(quote.ticker, "the symbol was not requested")
                    continue
                missing.discard(quote.ticker)
                yield quote
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
            ) as response:
                body = response.raw.read(MAX_RESPONSE_BYTES + 1, decode_content=True)
        except (requests.RequestException, OSError) as error:
            raise PriceProviderError(f"The price provider cannot be reached: {type(error).__name__}.") from error
        except Exception as error:  # urllib3's own, raised while the body is read
            raise PriceProviderError(f"The price provider closed the connection: {type(error).__name__}.") from error
        if response.status_code != 200:
            raise PriceProviderError(f"The price provider responds with status {response.status_code}.")
        if len(body) > MAX_RESPONSE_BYTES:
            raise PriceProviderError(f"The price provider's response is longer than {MAX_RESPONSE_BYTES:,} bytes.")
        try:
            # Parse to Decimal directly: a float would change the price.
            document = json.loads(body, parse_float=Decimal, parse_int=Decimal)
            quotes = document["quotes"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PriceProviderError('The price provider\'s response is not a JSON object with "quotes".') from error
        if not isinstance(quotes, list):
            raise PriceProviderError('The price provider\'s "quotes" is not a list.')
        return quotes


def _parse_quote(ticker: object, price: object, as_of: object) -> Quote | QuoteError:
    """Validate a quote: it needs a positive price and a time with a time zone."""
    if not isinstance(ticker, str) or not (name := ticker.strip().upper()) or len(name) > 12:
        return QuoteError("", f"{str(ticker)[:40]!r} is not a ticker")
    try:
        if not isinstance(price, str | Decimal):
            raise InvalidOperation
        exact = parse_decimal(price) if isinstance(price, str) else price
        if not (exact.is_finite() and 0 < exact <= MAX_PRICE):
            raise InvalidOperation
        exact = exact.quantize(PRICE_PLACES)
        if exact <= 0:
            raise InvalidOperation
    except (InvalidOperation, ValueError):
        return QuoteError(name, f"{str(price)[:40]!r} is not a price")
    try:
        time = datetime.fromisoformat(as_of.strip()) if isinstance(as_of, str) else as_of
    except ValueError:
        return QuoteError(name, f"{str(as_of)[:40]!r} is not an ISO time")
    if not isinstance(time, datetime) or time.tzinfo is None:
        return QuoteError(name, "the time of the quote is missing or has no time zone")
    return Quote(name, exact, time.astimezone(UTC))
