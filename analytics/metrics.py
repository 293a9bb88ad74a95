"""Metrics of the business for Prometheus: what was invested, what waits, decisions, the books, the model's cost.

Every statement is bounded: rollups and indexes by day, partial indexes with a LIMIT. Where a figure stops at
`MOST_ROWS`, there are so many that the exact number would not change what anybody does.
"""

from typing import Final

from django.conf import settings

from kamioi_site.observability.metrics import Metrics, collector
from kamioi_site.observability.metrics.collectors import MetricsDatabase
from transactions.services.ledger_verification import LEDGER_CHECK

MOST_ROWS: Final = 50_000
RECENT_DAYS: Final = 7
COST_DAYS: Final = 30
_WAITING = ("pending", "mapped", "awaiting_price")
_BUDGET_KEY = "llm_monthly_budget"
# What a setting must look like to be an amount: as in the view `analytics_cost`.
_AMOUNT = r"^\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$"


@collector("transactions", ttl=30)
def _transactions(figures: Metrics, database: MetricsDatabase) -> None:
    for status, rows, amount, invested in database.rows(
        "SELECT status, sum(rows), sum(amount), sum(investable) FROM transaction_days"
        " WHERE day > (now() AT TIME ZONE 'UTC')::date - %s AND day <= (now() AT TIME ZONE 'UTC')::date GROUP BY 1",
        [RECENT_DAYS],
    ):
        figures.gauge("kamioi_transactions_recent", "Purchases of the last 7 days by status.", rows, status=status)
        figures.gauge("kamioi_transactions_recent_dollars", "Their dollars.", amount, status=status)
        figures.gauge("kamioi_transactions_recent_invested_dollars", "Dollars invested.", invested, status=status)
    for status in _WAITING:
        ((rows, dollars, oldest),) = database.rows(
            "SELECT count(*), coalesce(sum(amount), 0), coalesce(max(extract(epoch FROM now() - updated_at)), 0)"
            " FROM (SELECT amount, updated_at FROM transactions WHERE status = %s LIMIT %s) AS waiting",
            [status, MOST_ROWS],
        )
        figures.gauge("kamioi_transactions_waiting", "Transactions that wait, up to 50,000.", rows, status=status)
        figures.gauge("kamioi_transactions_waiting_dollars", "Their purchases in dollars.", dollars, status=status)
        figures.gauge("kamioi_transactions_waiting_oldest_seconds", "The longest wait of them.", oldest, status=status)
    ((lag,),) = database.rows(
        "SELECT coalesce(count(*), 0) FROM (SELECT FROM transaction_deltas LIMIT %s) AS deltas", [MOST_ROWS]
    )
    figures.gauge("kamioi_rollup_deltas", "Changes that the rollups have not taken up, up to 50,000.", lag)


@collector("review", ttl=30)
def _review(figures: Metrics, database: MetricsDatabase) -> None:
    # The most valuable part of the queue, along its index.
    ((merchants, rows, dollars, oldest),) = database.rows(
        "SELECT count(*), coalesce(sum(waiting_count), 0), coalesce(sum(waiting_amount), 0),"
        " coalesce(max(extract(epoch FROM now() - created_at)), 0)"
        " FROM (SELECT waiting_count, waiting_amount, created_at FROM merchants"
        " WHERE status IN ('proposed', 'rejected') ORDER BY review_priority DESC LIMIT %s) AS queue"
        " WHERE waiting_count > 0",
        [MOST_ROWS],
    )
    figures.gauge("kamioi_review_merchants", "Merchants that wait for a decision, up to 50,000.", merchants)
    figures.gauge("kamioi_review_transactions", "Transactions that wait for them.", rows)
    figures.gauge("kamioi_review_waiting_dollars", "Purchases in dollars that wait for them.", dollars)
    figures.gauge("kamioi_review_oldest_seconds", "Since the longest waiting of them was first seen.", oldest)
    ((unasked,),) = database.rows(
        "SELECT count(*) FROM (SELECT FROM merchants WHERE status = 'proposed' AND source = 'ingest' LIMIT %s) AS new",
        [MOST_ROWS],
    )
    figures.gauge("kamioi_merchants_unproposed", "Merchants that nobody proposed an owner for, up to 50,000.", unasked)
    found = {"automatic": 0, "reviewer": 0}
    reversed_ = dict(found)
    for automatic, decisions, undone in database.rows(
        "SELECT automatic, count(*), count(undone.id) FROM (SELECT id, automatic FROM mapping_decisions AS decision"
        " WHERE (decided_at AT TIME ZONE 'UTC')::date > (now() AT TIME ZONE 'UTC')::date - %s"
        " AND undoes_id IS NULL AND action IN ('approve', 'correct', 'not_listed') LIMIT %s) AS decided"
        " LEFT JOIN (SELECT id, undoes_id FROM mapping_decisions WHERE undoes_id IS NOT NULL) AS undone"
        " ON undone.undoes_id = decided.id GROUP BY 1",
        [RECENT_DAYS, 4 * MOST_ROWS],
    ):
        found["automatic" if automatic else "reviewer"] = decisions
        reversed_["automatic" if automatic else "reviewer"] = undone
    for by, decisions in found.items():
        figures.gauge("kamioi_decisions_recent", "Decisions on merchants of the last 7 days.", decisions, by=by)
        figures.gauge("kamioi_decisions_recent_reversed", "Of them taken back as wrong.", reversed_[by], by=by)


@collector("ledger", ttl=30)
def _ledger(figures: Metrics, database: MetricsDatabase) -> None:
    for age, problems, seconds in database.rows(
        "SELECT extract(epoch FROM now() - finished_at), (result->>'problems')::int, (result->>'seconds')::float"
        " FROM background_tasks WHERE name = %s AND status = 'completed' ORDER BY created_at DESC LIMIT 1",
        [LEDGER_CHECK],
    ):
        figures.gauge("kamioi_ledger_check_age_seconds", "Since the books were last checked.", age)
        figures.gauge("kamioi_ledger_check_differences", "Disagreements that the check found.", problems)
        figures.gauge("kamioi_ledger_check_seconds", "How long it took.", seconds)


@collector("llm", ttl=30)
def _llm(figures: Metrics, database: MetricsDatabase) -> None:
    ((calls, failed, cost, merchants),) = database.rows(
        "SELECT count(*), count(*) FILTER (WHERE error <> ''), coalesce(sum(cost), 0), coalesce(sum(merchants), 0)"
        " FROM llm_calls WHERE started_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
    )
    figures.gauge("kamioi_llm_month_calls", "Calls to a model this calendar month.", calls)
    figures.gauge("kamioi_llm_month_calls_failed", "Of them failed.", failed)
    figures.gauge("kamioi_llm_month_cost_dollars", "What they cost.", cost)
    figures.gauge("kamioi_llm_month_merchants", "Merchants asked for.", merchants)
    ((recent, recent_failed, milliseconds),) = database.rows(
        "SELECT count(*), count(*) FILTER (WHERE error <> ''), coalesce(avg(duration_ms), 0)"
        " FROM llm_calls WHERE started_at > now() - interval '15 minutes'"
    )
    figures.gauge("kamioi_llm_recent_calls", "Calls of the last 15 minutes.", recent)
    figures.gauge("kamioi_llm_recent_calls_failed", "Of them failed.", recent_failed)
    figures.gauge("kamioi_llm_recent_call_seconds", "How long they took on average.", milliseconds / 1000)
    stored = database.rows("SELECT value FROM admin_settings WHERE key = %s AND trim(value) <> ''", [_BUDGET_KEY])
    budget = float(stored[0][0]) if stored else float(settings.LLM_MONTHLY_BUDGET)
    figures.gauge("kamioi_llm_month_budget_dollars", "What they may cost; 0 is no limit.", budget)


@collector("cost", ttl=300)
def _cost(figures: Metrics, database: MetricsDatabase) -> None:
    # The last 30 days, not the calendar month: on its second day that would say nothing.
    ((cost, day_cost),) = database.rows(
        "SELECT coalesce(sum(cost), 0), coalesce(sum(cost) FILTER (WHERE started_at > now() - interval '1 day'), 0)"
        " FROM llm_calls WHERE started_at > now() - make_interval(days => %s)",
        [COST_DAYS],
    )
    text = "What the last 30 days cost, by part; infrastructure only once the setting has an amount."
    figures.gauge("kamioi_cost_recent_dollars", text, cost, part="models")
    figures.gauge("kamioi_llm_day_cost_dollars", "What calls to a model cost in the last 24 hours.", day_cost)
    # CASE: what is no amount must not be cast, whatever the planner looks at first.
    for (a_month,) in database.rows(
        "SELECT CASE WHEN value ~ %s THEN value::numeric ELSE 0 END FROM admin_settings WHERE key = %s",
        [_AMOUNT, "infrastructure_monthly_cost"],
    ):
        if a_month > 0:
            share = float(a_month) * COST_DAYS * 12 / 365.25
            figures.gauge("kamioi_cost_recent_dollars", text, share, part="infrastructure")
    ((completed,),) = database.rows(
        "SELECT coalesce(sum(rows), 0) FROM transaction_days WHERE status = 'completed'"
        " AND day > (now() AT TIME ZONE 'UTC')::date - %s AND day <= (now() AT TIME ZONE 'UTC')::date",
        [COST_DAYS],
    )
    figures.gauge("kamioi_cost_recent_transactions", "Purchases of the last 30 days that were invested.", completed)
    ((people,),) = database.rows(
        "SELECT coalesce(max(people), 0) FROM (SELECT sum(users) AS people FROM customer_counts"
        " WHERE month >= date_trunc('month', now() AT TIME ZONE 'UTC')::date - interval '1 month' GROUP BY month) AS months"
    )
    figures.gauge(
        "kamioi_cost_active_people", "Active people of this month or the last one, whichever had more.", people
    )
