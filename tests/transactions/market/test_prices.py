"""Quotes from files and from a faulty API, and the transactions that wait for them."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from pytest_django import Settings

from tests.factories import make_company, make_merchant, make_price, make_transaction, make_user
from transactions.errors import PriceProviderError
from transactions.market.price_providers import (
    MAX_RESPONSE_BYTES,
    CsvPrices,
    HttpPrices,
    Quote,
    QuoteError,
    price_provider,
)
from transactions.market.price_refresh import refresh_stock_prices, release_priced_transactions
from transactions.models import Holding, StockPrice, Transaction
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending
from transactions.tasks import refresh_prices

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
Reply = tuple[int, dict[str, str], bytes]


@pytest.fixture
def api() -> Iterator[tuple[str, list[Callable[[list[str]], Reply]], list[dict[str, str]]]]:
    """Serve a local quote API: its URL, its responses (the last one repeats), and the requests it received."""
    replies: list[Callable[[list[str]], Reply]] = []
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            symbols = parse_qs(urlsplit(self.path).query)["symbols"][0]
            received.append({"symbols": symbols, "key": self.headers.get("Authorization", "")})
            answer = replies.pop(0) if len(replies) > 1 else replies[0]
            status, headers, body = answer(symbols.split(","))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/quotes", replies, received
    server.shutdown()
    server.server_close()


def _good(price: str = "95.12") -> Callable[[list[str]], Reply]:
    def answer(symbols: list[str]) -> Reply:
        quotes = ",".join(
            f'{{"symbol": "{symbol}", "price": {price}, "as_of": "{NOW.isoformat()}"}}' for symbol in symbols
        )
        return 200, {}, f'{{"quotes": [{quotes}]}}'.encode()

    return answer


def _bad(status: int, body: bytes = b"", **headers: str) -> Callable[[list[str]], Reply]:
    return lambda _: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def _provider(url: str) -> HttpPrices:
    return HttpPrices(url, "secret", timeout=20, tries=3, pause=0.01)


def test_a_request_has_a_hundred_symbols_and_the_key(api):
    url, replies, received = api
    replies.append(_good())
    quotes = list(_provider(url).quotes([f"T{n}" for n in range(150)]))
    assert len(quotes) == 150
    assert [len(request["symbols"].split(",")) for request in received] == [100, 50]
    assert received[0]["key"] == "Bearer secret"


@pytest.mark.parametrize(
    ("text", "price"), [("95.12", "95.1200"), ("0.1", "0.1000"), ('"504.35"', "504.3500"), ("1e2", "100.0000")]
)
def test_prices_are_parsed_exactly(api, text, price):
    url, replies, _ = api
    replies.append(_good(text))
    assert list(_provider(url).quotes(["SBUX"])) == [Quote("SBUX", Decimal(price), NOW)]


@pytest.mark.parametrize("error", [_bad(429, Retry_After="0"), _bad(500), _bad(503), _bad(502)])
def test_transient_errors_are_retried(api, error):
    url, replies, received = api
    replies += [error, error, _good()]
    assert len(list(_provider(url).quotes(["SBUX"]))) == 1
    assert len(received) == 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (_bad(429, Retry_After="0"), "status 429"),
        (_bad(500), "status 500"),
        (_bad(401), "status 401"),
        (_bad(302, Location="http://127.0.0.1:1/"), "status 302"),
        (_bad(200, b"<html>"), "not a JSON object"),
        (_bad(200, b'{"quotes": [{"symbol": "SB'), "not a JSON object"),
        (_bad(200, b'{"prices": []}'), 'not a JSON object with "quotes"'),
        (_bad(200, b'{"quotes": "none"}'), "is not a list"),
        (_bad(200, b"[" * 100_000), "not a JSON object"),
        (_bad(200, b"x" * (MAX_RESPONSE_BYTES + 2)), "longer than"),
    ],
)
def test_permanent_errors_are_reported(api, reply, message):
    url, replies, _ = api
    replies.append(reply)
    with pytest.raises(PriceProviderError, match=message):
        list(_provider(url).quotes(["SBUX"]))


def test_a_provider_that_times_out_is_an_error(api):
    url, replies, _ = api
    stop = threading.Event()

    def slow(_: list[str]) -> Reply:
        stop.wait(5)
        return 200, {}, b"{}"

    replies.append(slow)
    with pytest.raises(PriceProviderError, match="cannot be reached"):
        list(HttpPrices(url, timeout=0.1, tries=2, pause=0.01).quotes(["SBUX"]))
    stop.set()


def test_bad_entries_are_reported_and_good_ones_are_returned(api):
    url, replies, _ = api
    as_of = NOW.isoformat()
    entries = [
        {"symbol": "SBUX", "price": "95.12", "as_of": as_of},
        {"symbol": "A", "price": -1, "as_of": as_of},
        {"symbol": "B", "price": "NaN", "as_of": as_of},
        {"symbol": "C", "price": 0, "as_of": as_of},
        {"symbol": "D", "price": None, "as_of": as_of},
        {"symbol": "E", "price": 1, "as_of": "2026-11-23T20:00:00"},
        {"symbol": "F", "price": 1, "as_of": "yesterday"},
        {"symbol": "G", "price": True, "as_of": as_of},
        {"symbol": "GME", "price": 1, "as_of": as_of},
        {"price": 1, "as_of": as_of},
        "H",
        {"symbol": "I", "price": 1},
    ]
    replies.append(_bad(200, json.dumps({"quotes": entries}).encode()))
    quotes = list(_provider(url).quotes(["SBUX", "A", "B", "C", "D", "E", "F", "G", "I", "J"]))
    assert [row for row in quotes if isinstance(row, Quote)] == [Quote("SBUX", Decimal("95.1200"), NOW)]
    reasons = {row.ticker: row.reason for row in quotes if isinstance(row, QuoteError)}
    assert {reasons[ticker] for ticker in "ABCDG"} == {
        "'-1' is not a price",
        "'NaN' is not a price",
        "'0' is not a price",
        "'None' is not a price",
        "'True' is not a price",
    }
    assert "has no time zone" in reasons["E"]
    assert "not an ISO time" in reasons["F"]
    assert reasons["GME"] == "the symbol was not requested"
    assert reasons["J"] == "the provider has no quote"


def test_a_bad_quote_in_a_file_is_reported_with_its_row(tmp_path):
    path = tmp_path / "quotes.csv"
    path.write_text("\ufeffSymbol, Price ,as_of\nsbux,95.12,2026-11-23T20:00:00Z\nA,nothing,\nB,1,2026-11-23\n,3,\n")
    quotes = list(CsvPrices(path).quotes([]))
    assert quotes[0] == Quote("SBUX", Decimal("95.1200"), NOW)
    assert [row.reason for row in quotes[1:]] == [
        "row 3: 'nothing' is not a price",
        "row 4: the time of the quote is missing or has no time zone",
        "row 5: '' is not a ticker",
    ]


def test_a_quote_without_a_time_is_of_no_time_but_in_the_demo(tmp_path, settings: Settings):
    path = tmp_path / "quotes.csv"
    path.write_text("symbol,price\nSBUX,95.12\n")
    settings.PRICE_CSV_UNDATED = False
    (refused,) = CsvPrices(path).quotes([])
    assert refused == QuoteError("SBUX", "row 2: the time of the quote is missing or has no time zone")
    settings.PRICE_CSV_UNDATED = True
    (quote,) = CsvPrices(path).quotes([])
    assert isinstance(quote, Quote)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("ticker,price\n", "no column symbol"), ("", "no column price and no column symbol")],
)
def test_an_unreadable_file_is_reported(tmp_path, content, message):
    path = tmp_path / "quotes.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PriceProviderError, match=message):
        list(CsvPrices(path).quotes([]))


def test_the_settings_select_the_provider(settings: Settings):
    assert isinstance(price_provider(), CsvPrices)
    settings.PRICE_PROVIDER, settings.PRICE_API_URL = "http", "https://prices.example/quotes"
    assert isinstance(price_provider(), HttpPrices)
    for provider, url in (("http", "ftp://x"), ("http", ""), ("", "")):
        settings.PRICE_PROVIDER, settings.PRICE_API_URL = provider, url
        with pytest.raises(PriceProviderError):
            price_provider()


# --- What is stored ---------------------------------------------------------------------------------------------
def _file(tmp_path: Path, *rows: str) -> CsvPrices:
    path = tmp_path / "quotes.csv"
    path.write_text("symbol,price,as_of\n" + "\n".join(rows) + "\n")
    return CsvPrices(path)


@pytest.mark.django_db
def test_the_demo_file_has_prices_of_at_least_four_hundred_companies():
    from llm_center.services.companies import import_companies

    import_companies()
    done = refresh_stock_prices()
    assert done.stored >= 400
    assert done.rejected == []


@pytest.mark.django_db
def test_unknown_delisted_future_and_jumping_quotes_are_rejected(tmp_path):
    make_company("SBUX", "95.00")
    make_company("GONE", None, is_listed=False)
    soon = (timezone.now() + timedelta(hours=1)).isoformat()
    now = timezone.now().isoformat()
    provider = _file(tmp_path, f"NOPE,1,{now}", f"GONE,1,{now}", f"SBUX,95,{soon}", f"SBUX,9500,{now}")
    done = refresh_stock_prices(provider=provider)
    assert done.stored == 0
    assert [row.reason.split(";")[0] for row in done.rejected] == [
        "not a listed company",
        "not a listed company",
        "the time of the quote is in the future",
        "jumps from 95.0000 to 9500.0000",
    ]
    assert refresh_stock_prices(provider=_file(tmp_path, f"SBUX,9500,{now}"), accept_jumps=True).stored == 1
    assert refresh_stock_prices(provider=_file(tmp_path, f"SBUX,9500,{now}")).stored == 0, "the same quote twice is one"


@pytest.mark.django_db
def test_quotes_before_a_failure_are_stored(api):
    url, replies, _ = api
    for n in range(120):
        make_company(f"T{n:03d}", None)
        make_merchant(f"SHOP {n}", f"T{n:03d}")
    replies += [_good(), _bad(401)]
    done = refresh_stock_prices(provider=_provider(url))
    assert (done.stored, done.error) == (100, "The price provider responds with status 401.")


@pytest.mark.django_db
@pytest.mark.parametrize("age", [None, timedelta(hours=97)])
def test_a_transaction_without_a_current_price_waits_and_is_bought_once(tmp_path, age):
    make_company("SBUX", None)
    if age:
        make_price("SBUX", "50.00", age=age)
    make_merchant("STARBUCKS", "SBUX")
    for _ in range(3):
        make_transaction(make_user(), "STARBUCKS")
    assert process_pending().statuses == {"awaiting_price": 3}
    assert refresh_stock_prices(provider=_file(tmp_path)).released == 0
    done = refresh_stock_prices(provider=_file(tmp_path, f"SBUX,95.12,{timezone.now().isoformat()}"))
    assert (done.stored, done.released) == (1, 3)
    assert process_pending().statuses == {"completed": 3}
    assert refresh_stock_prices(provider=_file(tmp_path)).released == 0
    assert {row.price_per_share for row in Transaction.objects.all()} == {Decimal("95.1200")}
    assert Holding.objects.count() == 3
    assert list(find_ledger_problems()) == []


OPEN = datetime(2025, 11, 24, 15, 0, tzinfo=UTC)  # a Monday, 10:00 in New York
CLOSED = datetime(2025, 11, 23, 15, 0, tzinfo=UTC)


@pytest.mark.django_db
def test_in_trading_hours_a_quote_is_at_most_fifteen_minutes_old(settings: Settings):
    settings.MARKET_ALWAYS_OPEN = False
    make_company("SBUX", None)
    make_merchant()
    make_transaction(make_user(), date=OPEN)
    for age, outcome in ((16, "awaiting_price"), (15, "completed")):
        StockPrice.objects.create(ticker="SBUX", price=90 + age, as_of=OPEN - timedelta(minutes=age), source="test")
        assert release_priced_transactions(now=OPEN) == (outcome == "completed")
        process_pending(now=OPEN)
        assert Transaction.objects.get().status == outcome
    assert Transaction.objects.get().price_per_share == 105


@pytest.mark.django_db
@pytest.mark.parametrize("now", [OPEN, CLOSED])
def test_a_demo_without_trading_hours_buys_at_the_last_close(now: datetime):
    make_company("SBUX", None)
    make_merchant()
    StockPrice.objects.create(ticker="SBUX", price=95, as_of=now - timedelta(hours=72), source="test")
    make_transaction(make_user(), date=now)
    process_pending(now=now)
    assert Transaction.objects.get().status == "completed"


@pytest.mark.django_db
def test_prices_are_refreshed_every_five_minutes_in_trading_hours_and_every_fifteen_otherwise(settings: Settings):
    settings.MARKET_ALWAYS_OPEN = False
    refreshed = {}
    for day in (OPEN, CLOSED):
        refreshed[day] = 0
        for minute in range(0, 60, 5):
            with time_machine.travel(day + timedelta(minutes=minute, seconds=1), tick=False):
                refreshed[day] += bool(refresh_prices())
    assert refreshed == {OPEN: 12, CLOSED: 4}
    crontab = PeriodicTask.objects.get(name="refresh_prices").crontab
    assert crontab
    assert crontab.minute == "*/5"


@pytest.mark.django_db
def test_a_transaction_that_waits_for_a_price_follows_a_corrected_merchant(tmp_path):
    make_company("GONE", None)
    make_company("SBUX", "95.00")
    merchant = make_merchant("STARBUCKS", "GONE")
    make_transaction(make_user(), "STARBUCKS")
    process_pending()
    merchant.ticker = "SBUX"
    merchant.save()
    assert refresh_stock_prices(provider=_file(tmp_path)).released == 1
    process_pending()
    assert Transaction.objects.get().ticker == "SBUX"


@pytest.mark.django_db
def test_the_command_and_the_task_report_their_results(tmp_path, capsys, settings: Settings):
    make_company("SBUX", None)
    path = tmp_path / "quotes.csv"
    path.write_text("symbol,price\nSBUX,95\nNOPE,1\n")
    call_command("refresh_prices", csv=path)
    output = capsys.readouterr().out
    assert "1 new quotes, 1 rejected, 0 transactions released" in output
    assert "NOPE: not a listed company" in output
    assert StockPrice.objects.get().source == "csv"
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("refresh_prices", csv=tmp_path / "none.csv")
    settings.PRICE_CSV_PATH = str(path)
    assert refresh_prices() == {"stored": 1, "refused": 1, "released": 0, "error": ""}
    settings.PRICE_PROVIDER = ""  # no source: nothing to do, and no failure every five minutes
    assert refresh_prices() == {}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://prices.example",
        "http://prices.example/q",
        "http://169.254.169.254/latest",
        "https://me:pw@prices.example",
        "http://2852039166/",
    ],
)
def test_a_forbidden_url_is_rejected(url):
    with pytest.raises(PriceProviderError, match="PRICE_API_URL"):
        HttpPrices(url)
