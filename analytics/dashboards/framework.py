"""Dashboards as declarations: a panel names its rows, statistics, chart and columns; this module renders it.

A panel reads its rows from `analytics.selectors` and knows nothing of requests or templates. What it returns is plain
data: statistics, one chart (drawn by `static/analytics/dashboards.js`) and one table (which is also its CSV). Panels
are read one by one: a panel that fails shows an error, and the others stay readable.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import AnonymousUser
from django.db.utils import Error as DatabaseError
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError

from analytics.selectors import queries
from analytics.selectors.periods import Period
from kamioi_site.formatting import money, number, percent
from kamioi_site.http.downloads import csv_line
from transactions.models import User
from transactions.rules.money import ZERO

logger = logging.getLogger(__name__)

MAX_POINTS: Final = 120  # A longer period is shown by month.

PRIMARY: Final = "var(--color-primary-600)"
SECONDARY: Final = "#0891b2"
GREEN, AMBER, RED, GREY = "#16a34a", "#d97706", "#dc2626", "#94a3b8"


# --- What a panel shows -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Stat:
    """One number with a label; `tone` is good, warn or bad where it needs attention."""

    label: str
    value: str
    note: str = ""
    link: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: the raw value for the CSV, the text for the page, and a link."""

    value: Any
    text: str
    link: str = ""

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float | Decimal)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; unless `open`, the page shows it collapsed."""

    headings: Sequence[str]
    rows: list[list[Cell]]
    open: bool = False

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """Headings, and whether the column is numeric."""
        first = self.rows[0] if self.rows else []
        return [(heading, n < len(first) and first[n].is_number) for n, heading in enumerate(self.headings)]


@dataclass(frozen=True, slots=True)
class Series:
    """Bars, or a line with its own scale on the right. Colours are CSS colours or variables of the admin theme."""

    label: str
    values: Sequence[float | None]
    colour: str
    line: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of kind bar, hbar, line or doughnut; `unit` is $, % or empty, `links` lead from a label to its rows."""

    kind: str
    labels: list[str]
    series: list[Series]
    unit: str = ""
    stacked: bool = False
    links: list[str] = field(default_factory=list)
    line_unit: str = ""

    @property
    def has_values(self) -> bool:
        return any(value for series in self.series for value in series.values)

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def alt_text(self) -> str:
        """Description for screen readers."""
        names = ", ".join(series.label for series in self.series)
        return f"{names}; {len(self.labels)} values, listed in the table below"


@dataclass(frozen=True, slots=True)
class PanelContent:
    """What a panel shows. `empty` is the message when there is no data, `note` explains the numbers."""

    stats: list[Stat] = field(default_factory=list)
    chart: Chart | None = None
    table: Table | None = None
    note: str = ""
    empty: str = ""
    counted_at: datetime | None = None
    template: str = ""


class PageContext:
    """What the panels of one page share: the period, the user's links, and values that are read once."""

    def __init__(self, user: User | AnonymousUser, period: Period) -> None:
        self.period = period
        self._user = user
        self._memo: dict[Any, Any] = {}

    def memoize(self, read: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the function once per page for these arguments."""
        key = (read, args, tuple(kwargs.items()))
        if key not in self._memo:
            self._memo[key] = read(*args, **kwargs)
        return self._memo[key]

    def changelist_url(
        self, model: str, first: date | None = None, last: date | None = None, *, column: str = "date", **filters: str
    ) -> str:
        """Return the changelist of `app_model` between two days with these filters; empty without the permission."""
        app, name = model.rsplit("_", 1)
        if not self._user.has_perm(f"{app}.view_{name}"):
            return ""
        query = {f"{key}__exact": value for key, value in filters.items()}
        if first:
            query[f"{column}_from"] = first.isoformat()
        if last:
            query[f"{column}_to"] = last.isoformat()
        return reverse(f"admin:{model}_changelist") + (f"?{urlencode(query)}" if query else "")


# --- Formats ----------------------------------------------------------------------------------------------------------
def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal | None:
    return Decimal(part) / whole if whole else None


def change(now: Decimal | int, before: Decimal | int) -> str:
    """Compare with the previous period."""
    if not before:
        return "no data in the previous period"
    return f"{float(now) / float(before) - 1:+.1%} vs. previous period"


def text(value: Any) -> Cell:
    return Cell(value, str(value))


def count(value: int) -> Cell:
    return Cell(int(value), number(int(value)))


def dollars(value: Decimal | None, places: int = 2) -> Cell:
    return Cell("" if value is None else value, money(value, places))


def decimals(places: int) -> Callable[[float | None], Cell]:
    """Return a format with this many decimal places; None becomes 0 in the CSV."""
    return lambda value: Cell(round(value or 0, places), number(value, places))


def share(value: Decimal | float | None) -> Cell:
    return Cell("" if value is None else round(float(value), 4), percent(value))


def moment(value: datetime | None) -> Cell:
    return text(f"{value:%Y-%m-%d %H:%M}" if value else "")


# --- Time axis --------------------------------------------------------------------------------------------------------
class Axis:
    """The days of a period, or its months if it is longer than `MAX_POINTS` days."""

    def __init__(self, period: Period) -> None:
        self.by_month = period.days > MAX_POINTS
        self.period = period
        self.heading = "Month" if self.by_month else "Day"
        self.keys = sorted({self.key(period.first + timedelta(days=n)) for n in range(period.days)})

    def key(self, day: date) -> date:
        return day.replace(day=1) if self.by_month else day

    @property
    def labels(self) -> list[str]:
        return [f"{key:%b %Y}" if self.by_month else f"{key:%b} {key.day}" for key in self.keys]

    def span(self, key: date) -> tuple[date, date]:
        """Return the first and the last day of a point."""
        if not self.by_month:
            return key, key
        next_month = (key + timedelta(days=32)).replace(day=1)
        return max(key, self.period.first), min(next_month - timedelta(days=1), self.period.last)

    def name(self, key: date) -> str:
        """Return the text of a point in the table."""
        return f"{key:%Y-%m}" if self.by_month else key.isoformat()

    def sums(self, rows: Iterable[Any], value: str) -> list[float]:
        """Sum an attribute of the rows by point, zero where there are none."""
        totals: dict[date, Any] = defaultdict(int)
        for row in rows:
            totals[self.key(row.date)] += getattr(row, value)
        return [float(totals.get(key, 0)) for key in self.keys]

    def group(self, rows: Iterable[Any], value: Callable[[Any], Any], group: Callable[[Any], str]) -> "Grouped":
        """Sum a value of the rows by point and group."""
        totals: Grouped = defaultdict(lambda: defaultdict(int))
        for row in rows:
            totals[self.key(row.date)][group(row)] += value(row)
        return totals

    def stacked(self, totals: "Grouped", groups: Mapping[str, tuple[str, str]]) -> list[Series]:
        """Return a series for each group (name → (label, colour)) that occurs."""
        return [
            Series(label, [float(totals[key].get(name, 0)) if key in totals else 0.0 for key in self.keys], colour)
            for name, (label, colour) in groups.items()
            if any(by_group.get(name) for by_group in totals.values())
        ]


Grouped = defaultdict[date, defaultdict[str, Any]]


# --- Panels -----------------------------------------------------------------------------------------------------------
def rollups_refreshed_at(page: PageContext) -> datetime | None:
    return page.memoize(queries.rollups_refreshed_at)


def ledger_counted_at(page: PageContext) -> datetime | None:
    return page.memoize(queries.ledger_counted_at)


@dataclass(frozen=True, slots=True)
class Column:
    """A table column: an attribute of the row (or a function of it), its format, and a link."""

    heading: str
    value: str | Callable[[Any], Any]
    format: Callable[[Any], Cell] = text
    link: Callable[[Any, PageContext], str] | None = None

    def cell(self, row: Any, page: PageContext) -> Cell:
        value = getattr(row, self.value) if isinstance(self.value, str) else self.value(row)
        cell = self.format(value)
        return replace(cell, link=self.link(row, page)) if self.link else cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel as a declaration. Callables get the rows that were read and the page.

    `empty` is the message when there are no rows, or a function that returns the message or nothing.
    `live`: shows the current state, whatever the period. `deferred`: slow, so the page loads it afterwards.
    """

    name: str
    title: str
    rows: Callable[[PageContext], Any]
    empty: str | Callable[[Any, PageContext], str] = ""
    stats: Callable[[Any, PageContext], list[Stat]] | None = None
    chart: Callable[[Any, PageContext], Chart | None] | None = None
    columns: tuple[Column, ...] = ()
    note: str | Callable[[Any, PageContext], str] = ""
    counted_at: Callable[[PageContext], datetime | None] = lambda _: timezone.now()
    table_open: bool = False
    template: str = ""
    live: bool = False
    deferred: bool = False
    wide: bool = False

    def read(self, page: PageContext) -> PanelContent:
        rows = self.rows(page)
        counted_at = self.counted_at(page)
        empty = self.empty(rows, page) if callable(self.empty) else "" if rows else self.empty
        if empty:
            return PanelContent(empty=empty, counted_at=counted_at)
        return PanelContent(
            stats=self.stats(rows, page) if self.stats else [],
            chart=self.build_chart(rows, page),
            table=self.build_table(rows, page),
            note=self.note(rows, page) if callable(self.note) else self.note,
            counted_at=counted_at,
            template=self.template,
        )

    def build_chart(self, rows: Any, page: PageContext) -> Chart | None:
        return self.chart(rows, page) if self.chart else None

    def build_table(self, rows: Any, page: PageContext) -> Table | None:
        if not self.columns or not rows:
            return None
        cells = [[column.cell(row, page) for column in self.columns] for row in rows]
        return Table([column.heading for column in self.columns], cells, open=self.table_open)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPanel(Panel):
    """Rows with a `date`, summed by day or month and by group; the table has a column for each group that occurs.

    With `columns`, the table lists the rows instead. `model` is the changelist behind a point; its cells also filter
    by `link_group`. `line` is an extra line over the bars: (label, attribute, colour).
    """

    group: Callable[[Any], str]
    value: str
    groups: Mapping[str, tuple[str, str]]
    kind: str = "bar"
    unit: str = ""
    model: str = ""
    link_group: str = ""
    line: tuple[str, str, str] | None = None

    def _totals(self, rows: Any, page: PageContext) -> tuple[Axis, Grouped]:
        axis = Axis(page.period)
        return axis, axis.group(rows, lambda row: getattr(row, self.value), self.group)

    def _link(self, page: PageContext, days: tuple[date, date], **filters: str) -> str:
        return page.changelist_url(self.model, days[0], days[1], **filters) if self.model else ""

    def build_chart(self, rows: Any, page: PageContext) -> Chart:
        axis, totals = self._totals(rows, page)
        series = axis.stacked(totals, self.groups)
        if self.line:
            label, value, colour = self.line
            series.append(Series(label, axis.sums(rows, value), colour, line=True))
        links = [self._link(page, axis.span(key)) for key in axis.keys] if self.model else []
        stacked = len(self.groups) > 1
        return Chart(self.kind, axis.labels, series, unit=self.unit, stacked=stacked, links=links)

    def build_table(self, rows: Any, page: PageContext) -> Table | None:
        if self.columns:
            return Panel.build_table(self, rows, page)
        axis, totals = self._totals(rows, page)
        names = [name for name in self.groups if any(name in by_group for by_group in totals.values())]
        as_cell = dollars if self.unit == "$" else count
        table = []
        for key in (key for key in axis.keys if key in totals):
            days = axis.span(key)
            cells = [Cell(axis.name(key), axis.name(key), self._link(page, days))]
            for name in names:
                cell = as_cell(totals[key].get(name, ZERO))
                if self.link_group:
                    cell = replace(cell, link=self._link(page, days, **{self.link_group: name}))
                cells.append(cell)
            table.append(cells)
        suffix = " ($)" if self.unit == "$" else ""
        return Table([axis.heading, *(f"{self.groups[name][0].capitalize()}{suffix}" for name in names)], table)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels; its live panels reload every `refresh` seconds (0: never)."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    refresh: int = 0
    has_period: bool = True
    area: str = ""  # the dashboard whose permission this page needs, if not its own

    @property
    def permission(self) -> str:
        return f"analytics.view_{(self.area or self.name).replace('-', '_')}_dashboard"

    @property
    def url(self) -> str:
        return reverse("dashboard", args=[self.name])

    def panel(self, name: str) -> Panel | None:
        return next((panel for panel in self.panels if panel.name == name), None)


@dataclass(frozen=True, slots=True)
class RenderedPanel:
    """A panel with its content, or with the error that replaced it."""

    panel: Panel
    content: PanelContent | None = None
    error: str = ""


def render_panel(panel: Panel, page: PageContext) -> RenderedPanel:
    """Read a panel; a failure becomes an error in the panel and a log entry."""
    try:
        return RenderedPanel(panel, panel.read(page))
    except DatabaseError as error:
        slow = "statement timeout" in str(error)
        reason = "The database took too long to respond." if slow else "The database did not respond."
    except (BrokerError, RedisError, ConnectionError, TimeoutError):
        reason = "The broker did not respond."
    except Exception:
        logger.exception("panel %s failed", panel.name)
        return RenderedPanel(panel, error="This panel could not be loaded. See the log for details.")
    logger.warning("panel %s: %s", panel.name, reason, exc_info=True)
    return RenderedPanel(panel, error=reason)


def panel_csv(content: PanelContent) -> Iterator[str]:
    """Yield the lines of the panel's table."""
    table = content.table or Table(
        ["figure", "value", "note"], [[text(part) for part in (s.label, s.value, s.note)] for s in content.stats]
    )
    yield csv_line(table.headings)
    for row in table.rows:
        yield csv_line([cell.value for cell in row])
