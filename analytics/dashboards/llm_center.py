"""The dashboard of the LLM Center: proposals, the review queue, review quality, model calls and merchants."""

from typing import Any, Final

from django.utils import timezone

from analytics.dashboards import framework as ui
from analytics.dashboards.framework import PageContext, Panel, SeriesPanel, Stat
from analytics.selectors import llm_center as selectors
from kamioi_site.formatting import money, number, percent, plural
from transactions.rules.money import ZERO

MAPPING: Final = "llm_center_llmmapping"
PROPOSAL_COLOURS: Final = {"approved": ui.GREEN, "pending": ui.AMBER, "rejected": ui.RED}


# --- Proposals: by status, with the average confidence as a line ------------------------------------------------------
def _proposal_stats(page: PageContext) -> list[Stat]:
    totals, before = selectors.proposal_totals(page.period), selectors.proposal_totals(page.period.previous)
    previous_confidence = f"{percent(before.average_confidence)} in the previous period"
    return [
        Stat("Proposals", number(totals.count), ui.change(totals.count, before.count)),
        Stat("Auto-approved", percent(totals.automatic_rate), f"{totals.automatic:,} of the decided proposals"),
        Stat("Average confidence", percent(totals.average_confidence), previous_confidence),
        Stat("Rejected", number(totals.rejected), percent(ui.ratio(totals.rejected, totals.count))),
    ]


class ProposalsPanel(Panel):
    """Proposals by status and the average confidence of each day."""

    def read(self, page: PageContext) -> ui.PanelContent:
        rows, counted_at = self.rows(page), self.counted_at(page)
        if not rows:
            return ui.PanelContent(empty="No proposals were made in this period.", counted_at=counted_at)
        axis = ui.Axis(page.period)
        counts = axis.group(rows, lambda row: row.count, lambda row: row.status)
        weights = axis.group(rows, lambda row: row.count * row.average_confidence, lambda row: "all")
        confidence = {key: float(weights[key]["all"]) / sum(counts[key].values()) for key in counts}
        statuses = [status for status in PROPOSAL_COLOURS if any(status in by_status for by_status in counts.values())]
        line = [round(confidence[key] * 100, 1) if key in confidence else None for key in axis.keys]
        table = []
        for key, value in zip(axis.keys, line, strict=True):
            if key in counts:
                cells = [ui.text(axis.name(key))]
                for status in statuses:
                    link = page.changelist_url(MAPPING, *axis.span(key), column="created_at", status=status)
                    cells.append(ui.Cell(counts[key].get(status, 0), number(counts[key].get(status, 0)), link))
                table.append([*cells, ui.Cell(value, percent(confidence[key]))])
        return ui.PanelContent(
            stats=_proposal_stats(page),
            chart=ui.Chart(
                "bar",
                axis.labels,
                [
                    *axis.stacked(counts, {status: (status, colour) for status, colour in PROPOSAL_COLOURS.items()}),
                    ui.Series("average confidence", line, ui.PRIMARY, line=True),
                ],
                stacked=True,
                line_unit="%",
                links=[page.changelist_url(MAPPING, *axis.span(key), column="created_at") for key in axis.keys],
            ),
            table=ui.Table([axis.heading, *(s.capitalize() for s in statuses), "Average confidence (%)"], table),
            counted_at=counted_at,
        )


# --- Review backlog ---------------------------------------------------------------------------------------------------
def _pending_ages(page: PageContext) -> list[Any]:
    """Return the pending proposals by age, or nothing if there is nothing to review."""
    ages = selectors.pending_by_age()
    pending = page.memoize(selectors.review_backlog).merchants or any(age.count for age in ages)
    return ages if pending else []


def _backlog_stats(_: Any, page: PageContext) -> list[Stat]:
    backlog = page.memoize(selectors.review_backlog)
    days = (timezone.now().date() - backlog.oldest).days if backlog.oldest else None
    return [
        Stat(
            "Merchants in the queue", number(backlog.merchants), link=page.changelist_url("llm_center_reviewmerchant")
        ),
        Stat("Waiting transactions", number(backlog.transactions)),
        Stat("Waiting amount", money(backlog.amount, 2)),
        Stat(
            "Oldest proposal",
            "–" if days is None else plural(days, "day"),
            f"since {backlog.oldest}" if backlog.oldest else "",
            tone="warn" if (days or 0) > 7 else "",
        ),
    ]


def _age_link(age: Any, page: PageContext) -> str:
    return page.changelist_url(MAPPING, age.first, age.last, column="created_at", status="pending")


def _backlog_chart(ages: list[Any], page: PageContext) -> ui.Chart:
    series = ui.Series("pending proposals", [age.count for age in ages], ui.AMBER)
    return ui.Chart("bar", [age.label for age in ages], [series], links=[_age_link(age, page) for age in ages])


# --- Review quality ---------------------------------------------------------------------------------------------------
def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"


def _quality_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    manual, automatic = sum(row.manual for row in rows), sum(row.automatic for row in rows)
    manual_undone = ui.ratio(sum(row.manual_reversed for row in rows), manual)
    automatic_undone = ui.ratio(sum(row.automatic_reversed for row in rows), automatic)
    timed = [row for row in rows if row.median_seconds is not None]
    weighted = sum(row.median_seconds * row.manual for row in timed)
    # The mean of the daily medians, weighted by decisions: the median of the period itself is not in the rollups.
    median = weighted / max(1, sum(row.manual for row in timed)) if timed else None
    link = page.changelist_url("llm_center_mappingdecision")
    return [
        Stat("Manual decisions", number(manual), f"{percent(manual_undone)} undone since", link),
        Stat(
            "Automatic decisions",
            number(automatic),
            f"{percent(automatic_undone)} undone since",
            link,
            "bad" if (automatic_undone or 0) > 0.05 else "",
        ),
        Stat("Median time in review", _duration(median), "approx."),
        Stat("Overturned", number(sum(row.overturned for row in rows)), "automatic approvals ended by reviewers"),
        Stat("Transactions released", number(sum(row.released for row in rows))),
    ]


def _quality_chart(rows: list[Any], page: PageContext) -> ui.Chart:
    axis = ui.Axis(page.period)
    undone = zip(axis.sums(rows, "manual_reversed"), axis.sums(rows, "automatic_reversed"), strict=True)
    series = [
        ui.Series("manual", axis.sums(rows, "manual"), ui.PRIMARY),
        ui.Series("automatic", axis.sums(rows, "automatic"), ui.SECONDARY),
        ui.Series("undone since", [manual + automatic for manual, automatic in undone], ui.RED),
    ]
    return ui.Chart("bar", axis.labels, series)


class QualityPanel(Panel):
    """Decisions by day or month, manual and automatic, and how many were undone."""

    def build_table(self, rows: Any, page: PageContext) -> ui.Table:
        axis = ui.Axis(page.period)
        present = {axis.key(row.date) for row in rows}
        measures = ("manual", "manual_reversed", "automatic", "automatic_reversed")
        points = zip(axis.keys, *(axis.sums(rows, measure) for measure in measures), strict=True)
        table = [
            [ui.text(axis.name(key)), *(ui.count(int(n)) for n in sums)] for key, *sums in points if key in present
        ]
        return ui.Table([axis.heading, "Manual", "Undone", "Automatic", "Undone"], table)


# --- Model calls and merchants ----------------------------------------------------------------------------------------
def _call_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    merchants, cost = sum(row.merchants for row in rows), sum((row.cost for row in rows), ZERO)
    per_merchant = f"{money(cost / merchants, 6)} per merchant" if merchants else ""
    return [
        Stat("Calls", number(sum(row.calls for row in rows)), link=page.changelist_url("llm_center_llmcall")),
        Stat("Merchants", number(merchants)),
        Stat("Cost", money(cost, 4), per_merchant),
    ]


_PALETTE: Final = (
    *("#7c3aed", "#0891b2", "#16a34a", "#d97706", "#dc2626", "#2563eb", "#db2777", "#65a30d", "#0d9488", "#9333ea"),
    ui.GREY,
)


def _categories_chart(rows: list[Any], page: PageContext) -> ui.Chart:
    slices = rows[: len(_PALETTE) - 1]
    if rest := sum(size for _, size in rows[len(slices) :]):
        slices = [*slices, ("other", rest)]
    series = ui.Series("merchants", [float(size) for _, size in slices], ",".join(_PALETTE[: len(slices)]))
    return ui.Chart("doughnut", [name.rpartition("/")[2].replace("_", " ") for name, _ in slices], [series])


class CategoriesPanel(Panel):
    """Merchants by category, estimated from a sample where the table is large."""

    def build_table(self, rows: Any, page: PageContext) -> ui.Table:
        total = sum(size for _, size in rows)
        table = [[ui.text(name), ui.count(size), ui.share(size / total)] for name, size in rows[:100]]
        return ui.Table(["Category", "Merchants", "Share"], table)


def _merchants_stat(rows: list[Any], page: PageContext) -> list[Stat]:
    total = number(sum(size for _, size in rows))
    return [Stat("Merchants", total, "in the directory, all time", page.changelist_url("transactions_merchant"))]


def _sample_note(_: Any, page: PageContext) -> str:
    sampled = page.memoize(selectors.merchant_categories).sampled
    return f"Estimated from a sample of {sampled:,} merchants." if sampled else ""


LLM_CENTER: Final = ui.Dashboard(
    "llm-center",
    "LLM Center",
    (
        ProposalsPanel(
            name="proposals",
            title="Proposals",
            wide=True,
            rows=lambda page: selectors.proposals_by_day(page.period),
            counted_at=ui.rollups_refreshed_at,
        ),
        Panel(
            name="backlog",
            title="Review backlog",
            live=True,
            rows=_pending_ages,
            empty="The review queue is empty.",
            stats=_backlog_stats,
            chart=_backlog_chart,
            columns=(ui.Column("Age", "label"), ui.Column("Pending proposals", "count", ui.count, _age_link)),
            note="The queue is live; the ages are as of the last refresh of the rollups.",
        ),
        QualityPanel(
            name="quality",
            title="Review quality",
            rows=lambda page: selectors.review_by_day(page.period),
            empty="Nothing was decided in this period.",
            stats=_quality_stats,
            chart=_quality_chart,
            counted_at=ui.rollups_refreshed_at,
        ),
        SeriesPanel(
            name="cost",
            title="Model calls",
            rows=lambda page: selectors.llm_cost_by_day(page.period),
            empty="No model calls in this period. The matcher works without them.",
            stats=_call_stats,
            group=lambda row: "cost",
            value="cost",
            groups={"cost": ("cost", ui.PRIMARY)},
            unit="$",
            line=("calls", "calls", ui.SECONDARY),
            columns=(
                ui.Column("Day", "date"),
                ui.Column("Calls", "calls", ui.count),
                ui.Column("Merchants", "merchants", ui.count),
                ui.Column("Cost ($)", "cost", lambda value: ui.dollars(value, 6)),
            ),
        ),
        CategoriesPanel(
            name="categories",
            title="Merchants by category",
            live=True,
            rows=lambda page: page.memoize(selectors.merchant_categories).rows,
            empty="The directory holds no merchants yet.",
            stats=_merchants_stat,
            chart=_categories_chart,
            note=_sample_note,
        ),
    ),
)
