"""The dashboards of the admin: which panels each has, and how a panel turns figures into something to look at.

A panel reads its figures by one function of `analytics.selectors.figures` or `analytics.selectors.operations` or a few, and knows nothing of
requests or templates. What it returns is plain data: figures, one chart, one table. The chart is drawn by
`static/analytics/dashboards.js`, the table is also its CSV. Each panel is read by itself: one that fails says so and the
others stand.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser
from django.db.utils import Error as DatabaseError
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError

from analytics.selectors import figures as selectors
from analytics.selectors import operations
from analytics.selectors.figures import Period, VolumeDay, VolumeTotals
from kamioi_site.http.downloads import csv_line
from transactions.models import User
from transactions.rules.money import ZERO

logger = logging.getLogger(__name__)

MAX_POINTS: Final = 120
"""A longer period is shown by months."""


# --- What a panel shows -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `tone` is good, warn or bad where it should be noticed."""

    label: str
    value: str
    note: str = ""
    link: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: the value as the CSV has it, its text, and where it leads."""

    value: Any
    text: str
    link: str = ""

    @property
    def is_number(self) -> bool:
        """Set to the right."""
        return isinstance(self.value, int | float | Decimal)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings."""

    headings: Sequence[str]
    rows: list[list[Cell]]
    open: bool = False
    """Whether it is shown without asking; else it is behind “As figures”."""

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """Headings, and whether numbers stand under them."""
        first = self.rows[0] if self.rows else []
        return [(heading, n < len(first) and first[n].is_number) for n, heading in enumerate(self.headings)]


@dataclass(frozen=True, slots=True)
class Series:
    """One row of bars, or one line. Colours are CSS colours or variables of the admin's theme."""

    label: str
    values: Sequence[float | None]
    colour: str
    line: bool = False
    """A line over the bars, with its own scale on the right."""


@dataclass(frozen=True, slots=True)
class Chart:
    """`unit` is $ or % or nothing; `links` lead from a label to its rows."""

    kind: str
    labels: list[str]
    series: list[Series]
    unit: str = ""
    stacked: bool = False
    links: list[str] = field(default_factory=list)
    line_unit: str = ""

    @property
    def has_values(self) -> bool:
        """Whether there is anything to draw."""
        return any(value for series in self.series for value in series.values)

    def as_data(self) -> dict[str, Any]:
        """For the script."""
        return asdict(self)

    @property
    def words(self) -> str:
        """For who cannot see it."""
        return (
            f"{', '.join(series.label for series in self.series)}, {len(self.labels)} values; the table below has them"
        )


@dataclass(frozen=True, slots=True)
class Content:
    """What a panel shows. `empty` says why there is nothing, `note` what to know about the figures."""

    figures: list[Figure] = field(default_factory=list)
    chart: Chart | None = None
    table: Table | None = None
    note: str = ""
    empty: str = ""
    counted_at: datetime | None = None
    template: str = ""


class Links:
    """Addresses of the rows behind a figure, for who may see them and nothing for others; and what panels of a page share."""

    def __init__(self, user: User | AnonymousUser) -> None:
        self._user = user
        self._known: dict[Any, Any] = {}

    def once(self, read: Callable[..., Any], *asked: Any) -> Any:
        """What the function answers, asked once for all panels of a page."""
        key = (read, asked)
        if key not in self._known:
            self._known[key] = read(*asked)
        return self._known[key]

    def to(
        self, model: str, first: date | None = None, last: date | None = None, *, column: str = "date", **filters: str
    ) -> str:
        """The changelist of `transactions_transaction` or the like, between two days and with these filters."""
        app, name = model.rsplit("_", 1)
        if not self._user.has_perm(f"{app}.view_{name}"):
            return ""
        query = {f"{key}__exact": value for key, value in filters.items()}
        if first:
            query[f"{column}_from"] = first.isoformat()
        if last:
            query[f"{column}_to"] = last.isoformat()
        return reverse(f"admin:{model}_changelist") + (f"?{urlencode(query)}" if query else "")


@dataclass(frozen=True, slots=True)
class Panel:
    """`live`: counts now, whatever the period. `deferred`: takes long, so the page shows itself first."""

    name: str
    title: str
    read: Callable[[Period, Links], Content]
    live: bool = False
    deferred: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels. `refresh` is after how many seconds its live panels are read again; 0 never."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    refresh: int = 0
    has_period: bool = True

    @property
    def permission(self) -> str:
        """Who may see it."""
        return f"analytics.view_{self.name.replace('-', '_')}_dashboard"

    @property
    def url(self) -> str:
        """Its address."""
        return reverse("dashboard", args=[self.name])

    def panel(self, name: str) -> Panel | None:
        """The panel of this name."""
        return next((panel for panel in self.panels if panel.name == name), None)


@dataclass(frozen=True, slots=True)
class RenderedPanel:
    """A panel with its content, or with why there is none."""

    panel: Panel
    content: Content | None = None
    error: str = ""


def render_panel(panel: Panel, period: Period, links: Links) -> RenderedPanel:
    """Read a panel. What it depends on being away or slow is said in the panel and logged; a bug is too."""
    try:
        return RenderedPanel(panel, panel.read(period, links))
    except DatabaseError as error:
        slow = "statement timeout" in str(error)
        reason = "The database took too long to answer." if slow else "The database did not answer."
    except (BrokerError, RedisError, ConnectionError, TimeoutError):
        reason = "The broker did not answer."
    except Exception:
        logger.exception("panel %s", panel.name)
        return RenderedPanel(panel, error="This could not be read; the log says why.")
    logger.warning("panel %s: %s", panel.name, reason, exc_info=True)
    return RenderedPanel(panel, error=reason)


def panel_csv(content: Content) -> Iterator[str]:
    """The panel's table, line by line."""
    table = content.table or Table(
        ["figure", "value", "note"],
        [[Cell(f.label, f.label), Cell(f.value, f.value), Cell(f.note, f.note)] for f in content.figures],
    )
    yield csv_line(table.headings)
    for row in table.rows:
        yield csv_line([cell.value for cell in row])


# --- How things are written -------------------------------------------------------------------------------------------
PRIMARY: Final = "var(--color-primary-600)"
SECOND: Final = "#0891b2"
GREEN, AMBER, RED, GREY = "#16a34a", "#d97706", "#dc2626", "#94a3b8"
_STATUS_COLOURS: Final = {
    "completed": GREEN,
    "not_listed": GREY,
    "needs_review": AMBER,
    "pending": "#3b82f6",
    "mapped": "#6366f1",
    "awaiting_price": "#ea580c",
    "refunded": "#14b8a6",
    "failed": RED,
    "approved": GREEN,
    "rejected": RED,
}
_PROPOSAL_COLOURS: Final = {"approved": GREEN, "pending": AMBER, "rejected": RED}


def number(value: float | None) -> str:
    """1,234"""
    return "–" if value is None else f"{value:,}"


def money(value: Decimal | None, places: int = 2) -> str:
    """$1,234.50, −$3.00"""
    if value is None:
        return "–"
    return f"{'−' if value < 0 else ''}${abs(value):,.{places}f}"


def percent(share: Decimal | float | None, places: int = 1) -> str:
    """12.3 %"""
    return "–" if share is None else f"{float(share) * 100:.{places}f} %"


def _text(value: Any, link: str = "") -> Cell:
    return Cell(value, str(value), link)


def _count(value: int, link: str = "") -> Cell:
    return Cell(int(value), number(int(value)), link)


def _dollars(value: Decimal, link: str = "", places: int = 2) -> Cell:
    return Cell(value, money(value, places), link)


def _share(value: Decimal | float | None) -> Cell:
    return Cell("" if value is None else round(float(value), 4), percent(value))


def _change(now: Decimal | int, before: Decimal | int) -> str:
    """How it compares with the period before."""
    if not before:
        return "nothing in the period before"
    return f"{(float(now) / float(before) - 1) * 100:+.1f} % on the period before"


class Axis:
    """The days of a period, or its months where the days would be too many."""

    def __init__(self, period: Period) -> None:
        self.by_month = period.days > MAX_POINTS
        self.period = period
        keys = {self.key(period.first + timedelta(days=n)) for n in range(period.days)}
        self.keys = sorted(keys)

    def key(self, day: date) -> date:
        """Where a day counts."""
        return day.replace(day=1) if self.by_month else day

    @property
    def labels(self) -> list[str]:
        """For people."""
        return [f"{key:%b %Y}" if self.by_month else f"{key:%b} {key.day}" for key in self.keys]

    def span(self, key: date) -> tuple[date, date]:
        """First and last day that count there."""
        if not self.by_month:
            return key, key
        following = (key + timedelta(days=32)).replace(day=1)
        return max(key, self.period.first), min(following - timedelta(days=1), self.period.last)

    def name(self, key: date) -> str:
        """For the table."""
        return f"{key:%Y-%m}" if self.by_month else key.isoformat()

    def sums(self, pairs: Iterable[tuple[date, Any]]) -> list[float]:
        """Values by key, zero where there are none."""
        found: dict[date, Any] = defaultdict(int)
        for day, value in pairs:
            found[self.key(day)] += value
        return [float(found.get(key, 0)) for key in self.keys]


def _by_key(
    axis: Axis, rows: Iterable[Any], value: Callable[[Any], Any], group: Callable[[Any], str]
) -> dict[date, dict[str, Any]]:
    found: dict[date, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        found[axis.key(row.date)][group(row)] += value(row)
    return found


def _stacked(
    axis: Axis, found: Mapping[date, Mapping[str, Any]], groups: Mapping[str, tuple[str, str]]
) -> list[Series]:
    """One series a group that occurs: name → (words, colour)."""
    return [
        Series(words, [float(found.get(key, {}).get(group, 0)) for key in axis.keys], colour)
        for group, (words, colour) in groups.items()
        if any(found.get(key, {}).get(group) for key in axis.keys)
    ]


# --- LLM center -------------------------------------------------------------------------------------------------------
def _proposals(period: Period, links: Links) -> Content:
    rows, totals = selectors.proposals_by_day(period), selectors.proposal_totals(period)
    before = selectors.proposal_totals(period.before)
    counted = links.once(selectors.rollups_counted_at)
    if not rows and not totals.count:
        return Content(empty="No proposals were made in this period.", counted_at=counted)
    axis = Axis(period)
    found = _by_key(axis, rows, lambda row: row.count, lambda row: row.status)
    weights = _by_key(axis, rows, lambda row: row.count * row.average_confidence, lambda row: "all")
    order = [status for status in _PROPOSAL_COLOURS if any(status in by for by in found.values())]
    confidence: list[float | None] = []
    for key in axis.keys:
        count = sum(found.get(key, {}).values())
        confidence.append(round(float(weights[key]["all"]) / count * 100, 1) if count else None)
    table = []
    for n, key in enumerate(axis.keys):
        if not (by := found.get(key)):
            continue
        first, last = axis.span(key)
        links_of = {
            status: links.to("llm_center_llmmapping", first, last, column="created_at", status=status)
            for status in order
        }
        table.append(
            [
                _text(axis.name(key)),
                *(_count(by.get(status, 0), links_of[status]) for status in order),
                Cell(confidence[n], percent((confidence[n] or 0) / 100)),
            ]
        )
    series = _stacked(axis, found, {status: (status, colour) for status, colour in _PROPOSAL_COLOURS.items()})
    return Content(
        figures=[
            Figure("Proposals", number(totals.count), _change(totals.count, before.count)),
            Figure("Approved by itself", percent(totals.automatic_rate), f"{totals.automatic:,} of the decided ones"),
            Figure(
                "Average confidence", percent(totals.average_confidence), f"{percent(before.average_confidence)} before"
            ),
            Figure(
                "Rejected",
                number(totals.rejected),
                percent(Decimal(totals.rejected) / totals.count if totals.count else None),
            ),
        ],
        chart=Chart(
            "bar",
            axis.labels,
            [*series, Series("average confidence", confidence, PRIMARY, line=True)],
            stacked=True,
            line_unit="%",
            links=[links.to("llm_center_llmmapping", *axis.span(key), column="created_at") for key in axis.keys],
        ),
        table=Table(
            ["Month" if axis.by_month else "Day", *(s.capitalize() for s in order), "Average confidence (%)"], table
        ),
        counted_at=counted,
    )


def _backlog(period: Period, links: Links) -> Content:
    ages, backlog, now = selectors.pending_by_age(), selectors.review_backlog(), timezone.now()
    queue = links.to("llm_center_reviewmerchant")
    waiting = sum(age.count for age in ages)
    if not backlog.merchants and not waiting:
        return Content(empty="Nothing waits for a reviewer.", counted_at=now)
    days = (now.date() - backlog.oldest).days if backlog.oldest else None
    to = [links.to("llm_center_llmmapping", age.first, age.last, column="created_at", status="pending") for age in ages]
    return Content(
        figures=[
            Figure("Merchants in the queue", number(backlog.merchants), link=queue),
            Figure("Transactions that wait", number(backlog.transactions)),
            Figure("Money that waits", money(backlog.amount)),
            Figure(
                "Oldest proposal",
                "–" if days is None else f"{days:,} day{'' if days == 1 else 's'}",
                f"since {backlog.oldest}" if backlog.oldest else "",
                tone="warn" if (days or 0) > 7 else "",
            ),
        ],
        chart=Chart(
            "bar",
            [age.words for age in ages],
            [Series("undecided proposals", [age.count for age in ages], AMBER)],
            links=to,
        ),
        table=Table(
            ["Age", "Undecided proposals"], [[_text(age.words), _count(age.count, to[n])] for n, age in enumerate(ages)]
        ),
        note="The queue is counted now, the ages with the rollups.",
        counted_at=now,
    )


def _waited(seconds: float | None) -> str:
    """A span of time in words."""
    if seconds is None:
        return "–"
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"


def _quality(period: Period, links: Links) -> Content:
    rows, counted = selectors.review_by_day(period), links.once(selectors.rollups_counted_at)
    if not rows:
        return Content(empty="Nothing was decided in this period.", counted_at=counted)
    people, automatic = sum(row.people for row in rows), sum(row.automatic for row in rows)
    people_back, automatic_back = sum(row.people_reversed for row in rows), sum(row.automatic_reversed for row in rows)
    overturned = sum(row.overturned for row in rows)
    timed = [(row.median_seconds, row.people) for row in rows if row.median_seconds is not None]
    typical = (
        sum(seconds * count for seconds, count in timed) / max(1, sum(count for _, count in timed)) if timed else None
    )
    axis = Axis(period)
    found: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in rows:
        for n, value in enumerate((row.people, row.automatic, row.people_reversed, row.automatic_reversed)):
            found[axis.key(row.date)][n] += value
    columns = [[float(found[key][n]) if key in found else 0.0 for key in axis.keys] for n in range(4)]
    decisions = links.to("llm_center_mappingdecision")

    def rate(back: int, of: int) -> Decimal | None:
        return Decimal(back) / of if of else None

    return Content(
        figures=[
            Figure(
                "Decided by people", number(people), f"{percent(rate(people_back, people))} taken back since", decisions
            ),
            Figure(
                "Decided by itself",
                number(automatic),
                f"{percent(rate(automatic_back, automatic))} taken back since",
                decisions,
                "bad" if (rate(automatic_back, automatic) or 0) > Decimal("0.05") else "",
            ),
            Figure("Waited for people", _waited(typical), "the middle one, on average over the days"),
            Figure("Overturned", number(overturned), "approvals that people ended"),
            Figure("Transactions released", number(sum(row.released for row in rows))),
        ],
        chart=Chart(
            "bar",
            axis.labels,
            [
                Series("by people", columns[0], PRIMARY),
                Series("by itself", columns[1], SECOND),
                Series("taken back since", [a + b for a, b in zip(columns[2], columns[3], strict=True)], RED),
            ],
        ),
        table=Table(
            ["Month" if axis.by_month else "Day", "By people", "Taken back", "By itself", "Taken back"],
            [
                [_text(axis.name(key)), *(_count(found[key][n]) for n in (0, 2, 1, 3))]
                for key in axis.keys
                if key in found
            ],
        ),
        counted_at=counted,
    )


def _llm_cost(period: Period, links: Links) -> Content:
    rows, now = selectors.llm_cost_by_day(period), timezone.now()
    if not rows:
        return Content(empty="No model was asked in this period. The matcher works without one.", counted_at=now)
    calls, merchants, cost = (
        sum(r.calls for r in rows),
        sum(r.merchants for r in rows),
        sum((r.cost for r in rows), ZERO),
    )
    axis = Axis(period)
    return Content(
        figures=[
            Figure("Calls", number(calls), link=links.to("llm_center_llmcall")),
            Figure("Merchants asked for", number(merchants)),
            Figure("Cost", money(cost, 4), f"{money(cost / merchants, 6)} a merchant" if merchants else ""),
        ],
        chart=Chart(
            "bar",
            axis.labels,
            [
                Series("cost", axis.sums((row.date, row.cost) for row in rows), PRIMARY),
                Series(
                    "calls", [float(v) for v in axis.sums((row.date, row.calls) for row in rows)], SECOND, line=True
                ),
            ],
            unit="$",
        ),
        table=Table(
            ["Day", "Calls", "Merchants", "Cost ($)"],
            [[_text(r.date), _count(r.calls), _count(r.merchants), _dollars(r.cost, places=6)] for r in rows],
        ),
        counted_at=now,
    )


_PALETTE: Final = (
    "#7c3aed",
    "#0891b2",
    "#16a34a",
    "#d97706",
    "#dc2626",
    "#2563eb",
    "#db2777",
    "#65a30d",
    "#0d9488",
    "#9333ea",
    GREY,
)
_SLICES: Final = 10


def _categories(period: Period, links: Links) -> Content:
    found, now = selectors.categories(), timezone.now()
    if not found.rows:
        return Content(empty="The directory holds no merchants yet.", counted_at=now)
    slices = found.rows[:_SLICES]
    if rest := sum(count for _, count in found.rows[_SLICES:]):
        slices = [*slices, ("others", rest)]
    total = sum(count for _, count in found.rows)
    return Content(
        figures=[
            Figure(
                "Merchants", number(total), "in the directory, whatever the period", links.to("transactions_merchant")
            )
        ],
        chart=Chart(
            "doughnut",
            [name.rpartition("/")[2].replace("_", " ") for name, _ in slices],
            [Series("merchants", [float(count) for _, count in slices], ",".join(_PALETTE[: len(slices)]))],
        ),
        table=Table(
            ["Category", "Merchants", "Share"],
            [[_text(name), _count(count), _share(count / total)] for name, count in found.rows[:100]],
        ),
        note=f"Estimated from a sample of {found.sampled:,} merchants." if found.sampled else "",
        counted_at=now,
    )


# --- Transactions -----------------------------------------------------------------------------------------------------
_STATUSES: Final = {
    "completed": ("invested", GREEN),
    "not_listed": ("nobody to invest in", GREY),
    "needs_review": ("waits for a reviewer", AMBER),
    "pending": ("being processed", "#3b82f6"),
    "mapped": ("ordered for the open", "#6366f1"),
    "awaiting_price": ("waits for a price", "#ea580c"),
    "refunded": ("refunds", "#14b8a6"),
    "failed": ("failed", RED),
}


def _volumes(period: Period, links: Links) -> tuple[list[VolumeDay], VolumeTotals, VolumeTotals]:
    """The rows of the period, its sums, and the sums of the period before, from one reading."""
    read = links.once(selectors.volume_by_day, Period(period.before.first, period.last))
    now = [row for row in read if row.date >= period.first]
    before = [row for row in read if row.date < period.first]
    return now, VolumeTotals.of(now), VolumeTotals.of(before)


def _volume(period: Period, links: Links) -> Content:
    (rows, totals, before), counted = _volumes(period, links), links.once(selectors.rollups_counted_at)
    if not rows:
        return Content(empty="No transactions in this period.", counted_at=counted)
    axis = Axis(period)
    found = _by_key(axis, rows, lambda row: row.transactions, lambda row: row.status)
    statuses = [status for status in _STATUSES if any(status in by for by in found.values())]
    failed = sum(by.get("failed", 0) for by in found.values())
    to = "transactions_transaction"
    return Content(
        figures=[
            Figure("Transactions", number(totals.transactions), _change(totals.transactions, before.transactions)),
            Figure("Purchases", money(totals.amount), _change(totals.amount, before.amount)),
            Figure(
                "Invested",
                number(totals.completed),
                f"{percent(Decimal(totals.completed) / totals.transactions)} of all",
            ),
            Figure(
                "Failed",
                number(failed),
                link=links.to(to, period.first, period.last, status="failed"),
                tone="bad" if failed else "",
            ),
        ],
        chart=Chart(
            "bar",
            axis.labels,
            _stacked(axis, found, _STATUSES),
            stacked=True,
            links=[links.to(to, *axis.span(key)) for key in axis.keys],
        ),
        table=Table(
            ["Month" if axis.by_month else "Day", *(_STATUSES[status][0].capitalize() for status in statuses)],
            [
                [
                    _text(axis.name(key), links.to(to, *axis.span(key))),
                    *(
                        _count(found[key].get(status, 0), links.to(to, *axis.span(key), status=status))
                        for status in statuses
                    ),
                ]
                for key in axis.keys
                if key in found
            ],
        ),
        note="By the day of the purchase.",
        counted_at=counted,
    )


def _invested(period: Period, links: Links) -> Content:
    (every, totals, before), counted = _volumes(period, links), links.once(selectors.rollups_counted_at)
    rows = [row for row in every if row.status == "completed"]
    if not rows:
        return Content(empty="Nothing was invested in this period.", counted_at=counted)
    axis = Axis(period)
    per = totals.invested / totals.completed if totals.completed else None
    return Content(
        figures=[
            Figure("Invested", money(totals.invested), _change(totals.invested, before.invested)),
            Figure("A purchase", money(per), "invested on average"),
        ],
        chart=Chart(
            "line", axis.labels, [Series("invested", axis.sums((r.date, r.investable) for r in rows), GREEN)], unit="$"
        ),
        table=Table(
            ["Day", "Purchases", "Invested ($)"],
            [
                [
                    _text(r.date, links.to("transactions_transaction", r.date, r.date, status="completed")),
                    _count(r.transactions),
                    _dollars(r.investable),
                ]
                for r in rows
            ],
        ),
        counted_at=counted,
    )


def _tickers(period: Period, links: Links) -> Content:
    rows, counted = selectors.top_tickers(period), links.once(selectors.rollups_counted_at)
    if not rows:
        return Content(empty="Nothing was invested in this period.", counted_at=counted)
    to = [links.to("transactions_transaction", period.first, period.last, ticker=row.ticker) for row in rows]
    return Content(
        chart=Chart(
            "hbar",
            [row.ticker for row in rows],
            [Series("invested", [float(r.invested) for r in rows], PRIMARY)],
            unit="$",
            links=to,
        ),
        table=Table(
            ["Ticker", "Company", "Purchases", "Invested ($)", "Fees ($)"],
            [
                [_text(r.ticker, to[n]), _text(r.name), _count(r.transactions), _dollars(r.invested), _dollars(r.fees)]
                for n, r in enumerate(rows)
            ],
        ),
        counted_at=counted,
    )


_ACCOUNT_COLOURS: Final = {"individual": PRIMARY, "family": SECOND, "business": AMBER}


def _users(period: Period, links: Links) -> Content:
    half_a_year = Period(min(period.first, selectors.months_before(period.last, 5)), period.last)
    rows, counted = selectors.active_users_by_month(half_a_year), links.once(selectors.rollups_counted_at)
    if not rows:
        return Content(empty="Nobody made a purchase in these months.", counted_at=counted)
    months = sorted({row.month for row in rows})
    by = {(row.month, row.account_type): row for row in rows}
    types = [name for name in _ACCOUNT_COLOURS if any(row.account_type == name for row in rows)]
    newest = [row for row in rows if row.month == months[-1]]
    users, transactions = sum(row.active_users for row in newest), sum(row.transactions for row in newest)
    return Content(
        figures=[
            Figure(f"Active in {months[-1]:%B}", number(users), link=links.to("transactions_user")),
            Figure("Transactions each", f"{transactions / users:,.1f}", f"in {months[-1]:%B} so far"),
        ],
        chart=Chart(
            "bar",
            [f"{month:%b %Y}" for month in months],
            [
                Series(
                    name,
                    [float(by[month, name].active_users) if (month, name) in by else 0.0 for month in months],
                    colour,
                )
                for name, colour in _ACCOUNT_COLOURS.items()
                if name in types
            ],
            stacked=True,
        ),
        table=Table(
            ["Month", "Account", "Active users", "Transactions"],
            [
                [_text(f"{r.month:%Y-%m}"), _text(r.account_type), _count(r.active_users), _count(r.transactions)]
                for r in rows
            ],
        ),
        note="Customers with a purchase in the calendar month; half a year at least.",
        counted_at=counted,
    )


# --- Finance ----------------------------------------------------------------------------------------------------------
def _revenue(period: Period, links: Links) -> Content:
    (every, totals, before), counted = _volumes(period, links), links.once(selectors.rollups_counted_at)
    rows = [row for row in every if row.status == "completed"]
    if not rows:
        return Content(empty="No fees were earned in this period.", counted_at=counted)
    axis = Axis(period)
    return Content(
        figures=[
            Figure("Fees", money(totals.fees), _change(totals.fees, before.fees)),
            Figure("A day", money(totals.fees / period.days), "on average"),
            Figure("Of what was invested", percent(totals.fees / totals.invested if totals.invested else None)),
        ],
        chart=Chart("bar", axis.labels, [Series("fees", axis.sums((r.date, r.fee) for r in rows), GREEN)], unit="$"),
        table=Table(
            ["Day", "Purchases", "Fees ($)"],
            [
                [
                    _text(r.date, links.to("transactions_transaction", r.date, r.date, status="completed")),
                    _count(r.transactions),
                    _dollars(r.fee),
                ]
                for r in rows
            ],
        ),
        note="Fees of purchases that were invested, by the day of the purchase.",
        counted_at=counted,
    )


_KINDS: Final = {
    "round_up": ("round-ups", PRIMARY),
    "purchase": ("shares bought", GREEN),
    "fee": ("fees", SECOND),
    "undone": ("taken back", RED),
    "opening": ("opening balances", GREY),
    "rounding": ("rounding", "#a16207"),
    "amortization": ("amortization", AMBER),
}


def _ledger(period: Period, links: Links) -> Content:
    rows, counted = selectors.ledger_by_day(period), links.once(selectors.ledger_counted_at)
    if not rows:
        return Content(empty="Nothing was booked in this period.", counted_at=counted)
    axis = Axis(period)
    found = _by_key(axis, rows, lambda row: row.amount, lambda row: row.kind if row.kind in _KINDS else "other")
    words = _KINDS | {"other": ("others", "#475569")}
    kinds = [kind for kind in words if any(kind in by for by in found.values())]
    to = "transactions_ledgertransfer"
    return Content(
        figures=[
            Figure("Bookings", number(sum(row.bookings for row in rows)), link=links.to(to, period.first, period.last)),
            Figure("Moved", money(sum((row.amount for row in rows), ZERO))),
        ],
        chart=Chart(
            "bar",
            axis.labels,
            _stacked(axis, found, words),
            unit="$",
            stacked=True,
            links=[links.to(to, *axis.span(key)) for key in axis.keys],
        ),
        table=Table(
            ["Month" if axis.by_month else "Day", *(f"{words[kind][0].capitalize()} ($)" for kind in kinds)],
            [
                [
                    _text(axis.name(key), links.to(to, *axis.span(key))),
                    *(_dollars(found[key].get(kind, ZERO)) for kind in kinds),
                ]
                for key in axis.keys
                if key in found
            ],
        ),
        note="By the day of the booking.",
        counted_at=counted,
    )


def _accounts(period: Period, links: Links) -> Content:
    rows, counted = selectors.accounts(period), links.once(selectors.ledger_counted_at)
    return Content(
        table=Table(
            ["Account", "Name", "Type", "Debit ($)", "Credit ($)", "Balance ($)"],
            [
                [
                    _text(
                        r.number, links.to("transactions_ledgertransfer", period.first, period.last, account=r.number)
                    ),
                    _text(r.name),
                    _text(r.type),
                    _dollars(r.debit),
                    _dollars(r.credit),
                    _dollars(r.balance),
                ]
                for r in rows
            ],
            open=True,
        ),
        empty="" if any(r.debit or r.credit or r.balance for r in rows) else "Nothing was booked yet.",
        note=f"Balances at the end of {period.last}, on the side where the account usually stands.",
        counted_at=counted,
    )


def _amortization(period: Period, links: Links) -> Content:
    months, assets, now = selectors.amortization_by_month(last=period.last), selectors.asset_values(), timezone.now()
    if not assets:
        return Content(empty="No data assets stand in the books.", counted_at=now)
    page = links.to("llm_center_llmdataasset")
    return Content(
        figures=[
            Figure(
                "Carrying value",
                money(sum((asset.carrying for asset in assets), ZERO)),
                f"of {len(assets)} asset{'' if len(assets) == 1 else 's'}",
                page,
            ),
            Figure(
                "Charged in twelve months",
                money(sum((m.amount for m in months), ZERO)),
                link=links.to("llm_center_amortizationentry"),
            ),
        ],
        chart=Chart(
            "bar",
            [f"{m.month:%b %Y}" for m in months],
            [Series("amortization", [float(m.amount) for m in months], AMBER)],
            unit="$",
        )
        if months
        else None,
        table=Table(
            ["Asset", "Status", "Cost ($)", "Written off ($)", "Stands at ($)"],
            [
                [_text(a.name, page), _text(a.status), _dollars(a.cost), _dollars(a.written_off), _dollars(a.carrying)]
                for a in assets
            ],
        ),
        counted_at=now,
    )


def _cost(period: Period, links: Links) -> Content:
    rows, counted = selectors.cost_by_month(last=period.last), links.once(selectors.rollups_counted_at)
    if not rows:
        return Content(empty="No month has anything that costs.", counted_at=counted)
    newest, (per_transaction, per_user) = rows[-1], selectors.COST_TARGETS

    def against(value: Decimal | None, target: Decimal) -> str:
        return "" if value is None else "good" if value < target else "bad"

    unsaid = newest.infrastructure_cost is None
    settings = links.to("transactions_setting")
    return Content(
        figures=[
            Figure(
                "A transaction",
                money(newest.per_transaction, 6),
                f"target: under {money(per_transaction, 3)}",
                tone=against(newest.per_transaction, per_transaction),
            ),
            Figure(
                "A user",
                money(newest.per_user, 4),
                f"target: under {money(per_user)} a month",
                tone=against(newest.per_user, per_user),
            ),
            Figure("Models", money(newest.llm_cost, 4), f"in {newest.month:%B}", links.to("llm_center_llmcall")),
            Figure(
                "Infrastructure",
                money(newest.infrastructure_cost),
                "not said: setting infrastructure_monthly_cost" if unsaid else "the part of the month so far",
                settings,
                "warn" if unsaid or not newest.infrastructure_cost else "",
            ),
        ],
        chart=Chart(
            "bar",
            [f"{r.month:%b %Y}" for r in rows],
            [
                Series("models", [float(r.llm_cost) for r in rows], PRIMARY),
                Series("infrastructure", [float(r.infrastructure_cost or 0) for r in rows], SECOND),
                Series(
                    "a transaction",
                    [None if r.per_transaction is None else float(r.per_transaction) for r in rows],
                    AMBER,
                    line=True,
                ),
            ],
            unit="$",
            stacked=True,
            line_unit="$",
        ),
        table=Table(
            [
                "Month",
                "Transactions",
                "Active users",
                "Models ($)",
                "Infrastructure ($)",
                "A transaction ($)",
                "A user ($)",
            ],
            [
                [
                    _text(f"{r.month:%Y-%m}"),
                    _count(r.transactions),
                    _count(r.active_users),
                    _dollars(r.llm_cost, places=4),
                    *(
                        Cell("" if value is None else value, money(value, places))
                        for value, places in ((r.infrastructure_cost, 2), (r.per_transaction, 6), (r.per_user, 4))
                    ),
                ]
                for r in rows
            ],
        ),
        note=f"The month of {newest.month:%B %Y}, whose days have been counted so far.",
        counted_at=counted,
    )


# --- Operations -------------------------------------------------------------------------------------------------------
def _queues(period: Period, links: Links) -> Content:
    rows = operations.queue_depths()
    return Content(
        figures=[Figure("Messages that wait", number(sum(row.waiting for row in rows)))],
        chart=Chart(
            "hbar", [row.queue for row in rows], [Series("waiting", [float(row.waiting) for row in rows], PRIMARY)]
        ),
        table=Table(["Queue", "Waiting"], [[_text(row.queue), _count(row.waiting)] for row in rows], open=True),
        counted_at=timezone.now(),
    )


def _workers(period: Period, links: Links) -> Content:
    rows = operations.workers()
    if not rows:
        return Content(empty="No worker answered. Nothing is processed until one runs.", counted_at=timezone.now())
    return Content(
        figures=[
            Figure("Workers", number(len(rows))),
            Figure("Processes", number(sum(row.processes for row in rows))),
            Figure("In work", number(sum(row.active for row in rows))),
        ],
        table=Table(
            ["Worker", "Queues", "Processes", "In work", "Done"],
            [
                [_text(r.name), _text(", ".join(r.queues)), _count(r.processes), _count(r.active), _count(r.done)]
                for r in rows
            ],
            open=True,
        ),
        counted_at=timezone.now(),
    )


def _failed(period: Period, links: Links) -> Content:
    rows, now = operations.failed_tasks(), timezone.now()
    if not rows:
        return Content(empty="No background task has failed.", counted_at=now)
    page = links.to("transactions_backgroundtask", status="failed")
    return Content(
        table=Table(
            ["Task", "Name", "Asked by", "Error", "Attempts", "Failed (UTC)"],
            [
                [
                    _text(r.id),
                    _text(r.name, page),
                    _text(r.who),
                    _text(r.error),
                    _count(r.attempts),
                    _text(f"{r.failed_at:%Y-%m-%d %H:%M}" if r.failed_at else ""),
                ]
                for r in rows
            ],
            open=True,
        ),
        counted_at=now,
        template="admin/analytics/failed_tasks.html",
    )


def _slow(period: Period, links: Links) -> Content:
    rows, now = operations.slow_queries(), timezone.now()
    if rows is None:
        return Content(
            empty="pg_stat_statements is not loaded in this database, so statements are not timed. To have it: "
            "shared_preload_libraries = 'pg_stat_statements', then CREATE EXTENSION pg_stat_statements.",
            counted_at=now,
        )
    return Content(
        table=Table(
            ["Statement", "Calls", "Mean (ms)", "In all (s)", "Rows"],
            [
                [
                    _text(r.query),
                    _count(r.calls),
                    Cell(round(r.mean_ms, 2), f"{r.mean_ms:,.2f}"),
                    Cell(round(r.total_ms / 1000, 1), f"{r.total_ms / 1000:,.1f}"),
                    _count(r.rows),
                ]
                for r in rows
            ],
            open=True,
        ),
        empty="" if rows else "No statement was timed yet.",
        counted_at=now,
    )


def _connections(period: Period, links: Links) -> Content:
    found, running = operations.current_connections(), operations.running_queries()
    tone = "bad" if found.total > 0.9 * found.maximum else "warn" if found.total > 0.7 * found.maximum else ""
    return Content(
        figures=[
            Figure("Connections", number(found.total), f"of {found.maximum:,}", tone=tone),
            *(Figure(state.capitalize(), number(count)) for state, count in found.by_state.items()),
            Figure("Found in PostgreSQL's cache", percent(found.cache_hit_rate), "blocks read"),
        ],
        table=Table(
            ["Statement", "State", "Seconds", "Waits for"],
            [
                [_text(r.query), _text(r.state), Cell(round(r.seconds, 1), f"{r.seconds:,.1f}"), _text(r.waits_for)]
                for r in running
            ],
            open=bool(running),
        )
        if running
        else None,
        note="" if running else "No statement has been running for more than five seconds.",
        counted_at=timezone.now(),
    )


def _cache(period: Period, links: Links) -> Content:
    rows, now = operations.cache_stats(), timezone.now()
    if not rows:
        return Content(empty="Nothing was read through the cache today, or Redis is away.", counted_at=now)
    reads, away = sum(row.reads for row in rows), sum(row.away for row in rows)
    found = sum(row.hit + row.stale + row.shared for row in rows)
    return Content(
        figures=[
            Figure("Found", percent(found / reads), f"of {reads:,} reads today"),
            Figure("Without Redis", number(away), tone="bad" if away else ""),
        ],
        table=Table(
            ["Family", "Reads", "Found", "Computed", "One computation (ms)"],
            [
                [
                    _text(r.family),
                    _count(r.reads),
                    _share(r.hit_rate),
                    _count(r.computed),
                    Cell(round(r.compute_ms or 0, 1), "–" if r.compute_ms is None else f"{r.compute_ms:,.1f}"),
                ]
                for r in rows
            ],
            open=True,
        ),
        counted_at=now,
    )


def _partitions(period: Period, links: Links) -> Content:
    rows = operations.partitions()
    least = min((row.headroom_months for row in rows), default=0)
    stray = sum(row.default_rows for row in rows)
    return Content(
        figures=[
            Figure("Months made ahead", number(least), "of the table with the fewest", tone="bad" if least < 1 else ""),
            Figure("Rows in default partitions", number(stray), tone="bad" if stray else ""),
        ],
        table=Table(
            ["Table", "Months", "Ahead", "In the default partition"],
            [
                [_text(r.table), _count(len(r.partitions) - 1), _count(r.headroom_months), _count(r.default_rows)]
                for r in rows
            ],
            open=True,
        ),
        counted_at=timezone.now(),
    )


def _replicas(period: Period, links: Links) -> Content:
    rows, ours, now = operations.replicas(), operations.read_replica_status(), timezone.now()
    if not rows and ours is None:
        return Content(
            empty="No replica streams from this database. Reads of analytics go to the primary.", counted_at=now
        )
    figures = []
    if ours is not None:
        lag = "–" if ours.lag_seconds is None else f"{ours.lag_seconds:,.1f} s"
        figures = [
            Figure(
                "Reads of analytics",
                "on the replica" if ours.used else "on the primary",
                ours.reason,
                tone="" if ours.used else "bad",
            ),
            Figure("Behind", lag, "" if ours.lag_bytes is None else f"{ours.lag_bytes:,} bytes"),
        ]
    return Content(
        figures=figures,
        table=Table(
            ["Replica", "State", "Bytes behind", "Seconds behind"],
            [
                [
                    _text(r.name),
                    _text(r.state),
                    Cell(r.bytes_behind or 0, number(r.bytes_behind or 0)),
                    Cell(round(r.seconds_behind or 0, 3), f"{r.seconds_behind or 0:,.3f}"),
                ]
                for r in rows
            ],
            open=True,
        ),
        counted_at=now,
    )


def _migration(period: Period, links: Links) -> Content:
    stand, now = operations.migration_status(), timezone.now()
    if stand is None:
        return Content(empty="Nothing was carried over from a legacy system.", counted_at=now)
    page = links.to("transactions_migrationrun")
    return Content(
        figures=[
            Figure("In charge", {"legacy": "the legacy system", "kamioi": "Kamioi"}.get(stand.phase, stand.phase)),
            Figure("Written back", "yes" if stand.dual_write else "no"),
            *([Figure("Problem", stand.error, tone="bad")] if stand.error else []),
        ],
        table=Table(
            ["Run", "Status", "Rows", "Started (UTC)"],
            [[_text(c, page), _text(s), _count(n), _text(f"{at:%Y-%m-%d %H:%M}")] for c, s, n, at in stand.runs],
            open=True,
        ),
        counted_at=now,
    )


# --- The pages --------------------------------------------------------------------------------------------------------
DASHBOARDS: Final = (
    Dashboard(
        "llm-center",
        "LLM Center",
        (
            Panel("proposals", "Proposals", _proposals, wide=True),
            Panel("backlog", "Review backlog", _backlog, live=True),
            Panel("quality", "Review and its quality", _quality),
            Panel("cost", "Calls to language models", _llm_cost),
            Panel("categories", "Merchants by category", _categories, live=True),
        ),
    ),
    Dashboard(
        "transactions",
        "Transactions",
        (
            Panel("volume", "Volume", _volume, wide=True),
            Panel("invested", "Invested", _invested),
            Panel("tickers", "Where it was invested", _tickers),
            Panel("users", "Active users", _users, wide=True),
        ),
    ),
    Dashboard(
        "finance",
        "Finance",
        (
            Panel("revenue", "Revenue", _revenue),
            Panel("ledger", "Ledger", _ledger),
            Panel("accounts", "Accounts", _accounts, wide=True),
            Panel("cost", "Cost", _cost),
            Panel("amortization", "Amortization", _amortization),
        ),
    ),
    Dashboard(
        "operations",
        "Operations",
        (
            Panel("queues", "Queues", _queues, live=True),
            Panel("workers", "Workers", _workers, live=True, deferred=True),
            Panel("failed", "Failed background tasks", _failed, live=True, wide=True),
            Panel("connections", "Connections", _connections, live=True),
            Panel("cache", "Cache", _cache, live=True),
            Panel("partitions", "Partitions", _partitions, live=True, wide=True),
            Panel("slow", "Slow statements", _slow, live=True, wide=True),
            Panel("replicas", "Replicas", _replicas, live=True),
            Panel("migration", "Migration", _migration, live=True),
        ),
        refresh=20,
        has_period=False,
    ),
)


def get_dashboard(name: str) -> Dashboard | None:
    """The dashboard of this name."""
    return next((dashboard for dashboard in DASHBOARDS if dashboard.name == name), None)
