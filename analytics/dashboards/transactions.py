"""The dashboard of transactions: volume, investments, companies and active users."""

from typing import Any, Final

from analytics.dashboards import framework as ui
from analytics.dashboards.framework import PageContext, Panel, SeriesPanel, Stat
from analytics.selectors import transactions as selectors
from analytics.selectors.periods import Period, months_before
from analytics.selectors.transactions import VolumeDay, VolumeTotals
from kamioi_site.formatting import money, number, percent

TRANSACTION: Final = "transactions_transaction"
STATUSES: Final = {
    "completed": ("invested", ui.GREEN),
    "not_listed": ("not listed", ui.GREY),
    "needs_review": ("in review", ui.AMBER),
    "pending": ("pending", "#3b82f6"),
    "mapped": ("ordered", "#6366f1"),
    "awaiting_price": ("awaiting price", "#ea580c"),
    "on_hold": ("on hold", "#a855f7"),
    "excluded": ("not purchases", "#94a3b8"),
    "refunded": ("refunded", "#14b8a6"),
    "undone": ("undone", "#cbd5e1"),
    "failed": ("failed", ui.RED),
}


def volume(page: PageContext) -> list[VolumeDay]:
    """Return the days of the period; they and the previous period are one query for all panels of a page."""
    days = page.memoize(selectors.volume_by_day, Period(page.period.previous.first, page.period.last))
    return [row for row in days if row.date >= page.period.first]


def invested_volume(page: PageContext) -> list[VolumeDay]:
    return [row for row in volume(page) if row.status == "completed"]


def previous_totals(page: PageContext) -> VolumeTotals:
    days = page.memoize(selectors.volume_by_day, Period(page.period.previous.first, page.period.last))
    return VolumeTotals.of(row for row in days if row.date < page.period.first)


def purchases_link(row: VolumeDay, page: PageContext) -> str:
    return page.changelist_url(TRANSACTION, row.date, row.date, status="completed")


def _volume_stats(rows: list[VolumeDay], page: PageContext) -> list[Stat]:
    totals, before = VolumeTotals.of(rows), previous_totals(page)
    failed = sum(row.transactions for row in rows if row.status == "failed")
    failed_link = page.changelist_url(TRANSACTION, page.period.first, page.period.last, status="failed")
    return [
        Stat("Transactions", number(totals.transactions), ui.change(totals.transactions, before.transactions)),
        Stat("Purchases", money(totals.amount), ui.change(totals.amount, before.amount)),
        Stat(
            "Invested", number(totals.completed), f"{percent(ui.ratio(totals.completed, totals.transactions))} of all"
        ),
        Stat("Failed", number(failed), link=failed_link, tone="bad" if failed else ""),
    ]


def _invested_stats(rows: list[VolumeDay], page: PageContext) -> list[Stat]:
    totals, before = VolumeTotals.of(rows), previous_totals(page)
    return [
        Stat("Invested", money(totals.invested), ui.change(totals.invested, before.invested)),
        Stat("Per purchase", money(ui.ratio(totals.invested, totals.completed), 2), "average"),
    ]


def _ticker_link(row: Any, page: PageContext) -> str:
    return page.changelist_url(TRANSACTION, page.period.first, page.period.last, ticker=row.ticker)


def _tickers_chart(rows: list[Any], page: PageContext) -> ui.Chart:
    series = ui.Series("invested", [float(row.invested) for row in rows], ui.PRIMARY)
    return ui.Chart("hbar", [r.ticker for r in rows], [series], unit="$", links=[_ticker_link(r, page) for r in rows])


# --- Active users: by calendar month, at least six of them ------------------------------------------------------------
_ACCOUNT_COLOURS: Final = {"individual": ui.PRIMARY, "family": ui.SECONDARY, "business": ui.AMBER}


def _active_users(page: PageContext) -> list[Any]:
    first = min(page.period.first, months_before(page.period.last, 5))
    return selectors.active_users_by_month(Period(first, page.period.last))


def _users_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    month = rows[-1].month
    latest = [row for row in rows if row.month == month]
    users = sum(row.active_users for row in latest)
    per_user = sum(row.transactions for row in latest) / users
    return [
        Stat(f"Active in {month:%B}", number(users), link=page.changelist_url("transactions_user")),
        Stat("Transactions per user", number(per_user, 1), f"in {month:%B} so far"),
    ]


def _users_chart(rows: list[Any], page: PageContext) -> ui.Chart:
    months = sorted({row.month for row in rows})
    users = {(row.account_type, row.month): float(row.active_users) for row in rows}
    series = [
        ui.Series(kind, [users.get((kind, month), 0.0) for month in months], colour)
        for kind, colour in _ACCOUNT_COLOURS.items()
        if any((kind, month) in users for month in months)
    ]
    return ui.Chart("bar", [f"{month:%b %Y}" for month in months], series, stacked=True)


TRANSACTIONS: Final = ui.Dashboard(
    "transactions",
    "Transactions",
    (
        SeriesPanel(
            name="volume",
            title="Volume",
            wide=True,
            rows=volume,
            empty="No transactions in this period.",
            stats=_volume_stats,
            group=lambda row: row.status,
            value="transactions",
            groups=STATUSES,
            model=TRANSACTION,
            link_group="status",
            note="By purchase date.",
            counted_at=ui.rollups_refreshed_at,
        ),
        SeriesPanel(
            name="invested",
            title="Invested",
            rows=invested_volume,
            empty="Nothing was invested in this period.",
            stats=_invested_stats,
            group=lambda row: row.status,
            value="investable",
            groups={"completed": ("invested", ui.GREEN)},
            kind="line",
            unit="$",
            columns=(
                ui.Column("Day", "date", link=purchases_link),
                ui.Column("Purchases", "transactions", ui.count),
                ui.Column("Invested ($)", "investable", ui.dollars),
            ),
            counted_at=ui.rollups_refreshed_at,
        ),
        Panel(
            name="tickers",
            title="Top companies",
            rows=lambda page: selectors.top_tickers(page.period),
            empty="Nothing was invested in this period.",
            chart=_tickers_chart,
            columns=(
                ui.Column("Ticker", "ticker", link=_ticker_link),
                ui.Column("Company", "name"),
                ui.Column("Purchases", "transactions", ui.count),
                ui.Column("Invested ($)", "invested", ui.dollars),
                ui.Column("Fees ($)", "fees", ui.dollars),
            ),
            counted_at=ui.rollups_refreshed_at,
        ),
        Panel(
            name="users",
            title="Active users",
            wide=True,
            rows=_active_users,
            empty="No customer made a purchase in these months.",
            stats=_users_stats,
            chart=_users_chart,
            columns=(
                ui.Column("Month", lambda row: f"{row.month:%Y-%m}"),
                ui.Column("Account type", "account_type"),
                ui.Column("Active users", "active_users", ui.count),
                ui.Column("Transactions", "transactions", ui.count),
            ),
            note="Customers with a purchase in the calendar month; at least the last six months.",
            counted_at=ui.rollups_refreshed_at,
        ),
    ),
)
