"""The dashboard of finance: fees, the ledger, cost against its targets, and data assets."""

from decimal import Decimal
from typing import Any, Final

from analytics.dashboards import framework as ui
from analytics.dashboards.framework import PageContext, Panel, SeriesPanel, Stat
from analytics.dashboards.transactions import invested_volume, previous_totals, purchases_link
from analytics.selectors import finance as selectors
from analytics.selectors.transactions import VolumeTotals
from kamioi_site.formatting import money, number, percent, plural
from transactions.rules.money import ZERO

LEDGER: Final = "transactions_ledgertransfer"
KINDS: Final = {
    "round_up": ("round-ups", ui.PRIMARY),
    "purchase": ("shares bought", ui.GREEN),
    "fee": ("fees", ui.SECONDARY),
    "undone": ("reversals", ui.RED),
    "opening": ("opening balances", ui.GREY),
    "collection": ("collections", "#a16207"),
    "amortization": ("amortization", ui.AMBER),
    "other": ("other", "#475569"),
}


def _revenue_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    totals = VolumeTotals.of(rows)
    return [
        Stat("Fees", money(totals.fees), ui.change(totals.fees, previous_totals(page).fees)),
        Stat("Per day", money(totals.fees / page.period.days, 2), "average"),
        Stat("Share of the invested amount", percent(ui.ratio(totals.fees, totals.invested))),
    ]


def _ledger_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    link = page.changelist_url(LEDGER, page.period.first, page.period.last)
    return [
        Stat("Postings", number(sum(row.bookings for row in rows)), link=link),
        Stat("Amount", money(sum((row.amount for row in rows), ZERO))),
    ]


def _booked_accounts(page: PageContext) -> list[Any]:
    """Return all accounts, or nothing while the ledger is empty."""
    rows = selectors.account_movements(page.period)
    return rows if any(row.debit or row.credit or row.balance for row in rows) else []


def _account_link(row: Any, page: PageContext) -> str:
    return page.changelist_url(LEDGER, page.period.first, page.period.last, account=row.number)


# --- Data assets ------------------------------------------------------------------------------------------------------
def _amortization(page: PageContext) -> list[Any]:
    return page.memoize(selectors.amortization_by_month, last=page.period.last)


def _asset_stats(assets: list[Any], page: PageContext) -> list[Stat]:
    carrying_value = sum((asset.carrying_value for asset in assets), ZERO)
    charged = sum((month.amount for month in _amortization(page)), ZERO)
    link = page.changelist_url("llm_center_llmdataasset")
    return [
        Stat("Carrying value", money(carrying_value), f"of {plural(len(assets), 'asset')}", link),
        Stat("Amortized in 12 months", money(charged), link=page.changelist_url("llm_center_amortizationentry")),
    ]


def _asset_chart(assets: list[Any], page: PageContext) -> ui.Chart | None:
    months = _amortization(page)
    series = ui.Series("amortization", [float(month.amount) for month in months], ui.AMBER)
    return ui.Chart("bar", [f"{month.month:%b %Y}" for month in months], [series], unit="$") if months else None


# --- Cost -------------------------------------------------------------------------------------------------------------
def _cost_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    month, (transaction_target, user_target) = rows[-1], selectors.COST_TARGETS

    def tone(value: Decimal | None, target: Decimal) -> str:
        return "" if value is None else "good" if value < target else "bad"

    unset = month.infrastructure_cost is None
    return [
        Stat(
            "Per transaction",
            money(month.per_transaction, 6),
            f"target: under {money(transaction_target, 3)}",
            tone=tone(month.per_transaction, transaction_target),
        ),
        Stat(
            "Per user",
            money(month.per_user, 4),
            f"target: under {money(user_target)} a month",
            tone=tone(month.per_user, user_target),
        ),
        Stat("Models", money(month.llm_cost, 4), f"in {month.month:%B}", page.changelist_url("llm_center_llmcall")),
        Stat(
            "Infrastructure",
            money(month.infrastructure_cost),
            "not set: setting infrastructure_monthly_cost" if unset else "month to date",
            page.changelist_url("transactions_setting"),
            "" if month.infrastructure_cost else "warn",
        ),
    ]


def _cost_chart(rows: list[Any], page: PageContext) -> ui.Chart:
    per_transaction = [None if row.per_transaction is None else float(row.per_transaction) for row in rows]
    series = [
        ui.Series("models", [float(row.llm_cost) for row in rows], ui.PRIMARY),
        ui.Series("infrastructure", [float(row.infrastructure_cost or 0) for row in rows], ui.SECONDARY),
        ui.Series("per transaction", per_transaction, ui.AMBER, line=True),
    ]
    labels = [f"{row.month:%b %Y}" for row in rows]
    return ui.Chart("bar", labels, series, unit="$", stacked=True, line_unit="$")


FINANCE: Final = ui.Dashboard(
    "finance",
    "Finance",
    (
        SeriesPanel(
            name="revenue",
            title="Revenue",
            rows=invested_volume,
            empty="No fees were earned in this period.",
            stats=_revenue_stats,
            group=lambda row: row.status,
            value="fee",
            groups={"completed": ("fees", ui.GREEN)},
            unit="$",
            columns=(
                ui.Column("Day", "date", link=purchases_link),
                ui.Column("Purchases", "transactions", ui.count),
                ui.Column("Fees ($)", "fee", ui.dollars),
            ),
            note="Fees of invested purchases, by purchase date.",
            counted_at=ui.rollups_refreshed_at,
        ),
        SeriesPanel(
            name="ledger",
            title="Ledger",
            rows=lambda page: selectors.ledger_by_day(page.period),
            empty="No postings in this period.",
            stats=_ledger_stats,
            group=lambda row: row.kind if row.kind in KINDS else "other",
            value="amount",
            groups=KINDS,
            unit="$",
            model=LEDGER,
            note="By posting date.",
            counted_at=ui.ledger_counted_at,
        ),
        Panel(
            name="accounts",
            title="Accounts",
            wide=True,
            rows=_booked_accounts,
            empty="No postings yet.",
            columns=(
                ui.Column("Account", "number", link=_account_link),
                ui.Column("Name", "name"),
                ui.Column("Type", "type"),
                ui.Column("Debit ($)", "debit", ui.dollars),
                ui.Column("Credit ($)", "credit", ui.dollars),
                ui.Column("Balance ($)", "balance", ui.dollars),
            ),
            table_open=True,
            note=lambda _, page: f"Balances at the end of {page.period.last}, on the account's normal side.",
            counted_at=ui.ledger_counted_at,
        ),
        Panel(
            name="cost",
            title="Cost",
            rows=lambda page: selectors.cost_by_month(last=page.period.last),
            empty="No month has any cost.",
            stats=_cost_stats,
            chart=_cost_chart,
            columns=(
                ui.Column("Month", lambda row: f"{row.month:%Y-%m}"),
                ui.Column("Transactions", "transactions", ui.count),
                ui.Column("Active users", "active_users", ui.count),
                ui.Column("Models ($)", "llm_cost", lambda value: ui.dollars(value, 4)),
                ui.Column("Infrastructure ($)", "infrastructure_cost", ui.dollars),
                ui.Column("Per transaction ($)", "per_transaction", lambda value: ui.dollars(value, 6)),
                ui.Column("Per user ($)", "per_user", lambda value: ui.dollars(value, 4)),
            ),
            note=lambda rows, _: f"{rows[-1].month:%B %Y}, as far as its days are counted.",
            counted_at=ui.rollups_refreshed_at,
        ),
        Panel(
            name="amortization",
            title="Amortization",
            rows=lambda page: selectors.asset_values(),
            empty="There are no data assets.",
            stats=_asset_stats,
            chart=_asset_chart,
            columns=(
                ui.Column("Asset", "name", link=lambda row, page: page.changelist_url("llm_center_llmdataasset")),
                ui.Column("Status", "status"),
                ui.Column("Cost ($)", "cost", ui.dollars),
                ui.Column("Written off ($)", "written_off", ui.dollars),
                ui.Column("Carrying value ($)", "carrying_value", ui.dollars),
            ),
        ),
    ),
)
