"""Business metrics for Prometheus: investments, waiting work, decisions, the ledger check, the cost of models.

Every query is bounded: rollups and indexes by day, partial indexes with a LIMIT. A metric that stops at `MAX_ROWS` is
so high that the exact number would change nothing.
"""

from typing import Final

from django.conf import settings

from kamioi_site.observability.metrics.collectors import Metrics, MetricsDatabase, collector
from transactions.services.ledger_verification import LEDGER_CHECK

MAX_ROWS: Final = 50_000
RECENT_DAYS: Final = 7
COST_DAYS: Final = 30
_WAITING = ("pending", "mapped", "awaiting_price", "on_hold")
_BUDGET_KEY = "llm_monthly_budget"
# A setting that is an amount, as in the view `analytics_cost`.
_AMOUNT = r"^\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$"


@collector("transactions", ttl=30)
def _transactions(metrics: Metrics, database: MetricsDatabase) -> None:
    for status, rows, amount, invested in database.rows(
        "SELECT status, sum(rows), sum(amount), sum(investable) FROM transaction_days"
        " WHERE day > (now() AT TIME ZONE 'UTC')::date - %s AND day <= (now() AT TIME ZONE 'UTC')::date GROUP BY 1",
        [RECENT_DAYS],
    ):
        metrics.gauge("kamioi_transactions_recent", "Purchases of the last 7 days by status.", rows, status=status)
        metrics.gauge("kamioi_transactions_recent_dollars", "Their amount in dollars.", amount, status=status)
        metrics.gauge("kamioi_transactions_recent_invested_dollars", "Dollars invested.", invested, status=status)
    for status in _WAITING:
        ((rows, dollars, oldest),) = database.rows(
            "SELECT count(*), coalesce(sum(amount), 0), coalesce(max(extract(epoch FROM now() - updated_at)), 0)"
            " FROM (SELECT amount, updated_at FROM transactions WHERE status = %s LIMIT %s) AS waiting",
            [status, MAX_ROWS],
        )
        metrics.gauge("kamioi_transactions_waiting", "Waiting transactions, up to 50,000.", rows, status=status)
        metrics.gauge("kamioi_transactions_waiting_dollars", "Their amount in dollars.", dollars, status=status)
        metrics.gauge("kamioi_transactions_waiting_oldest_seconds", "Their longest wait.", oldest, status=status)
    ((lag,),) = database.rows(
        "SELECT coalesce(count(*), 0) FROM (SELECT FROM transaction_deltas LIMIT %s) AS deltas", [MAX_ROWS]
    )
    metrics.gauge("kamioi_rollup_deltas", "Changes that the rollups have not consumed, up to 50,000.", lag)


@collector("review", ttl=30)
def _review(metrics: Metrics, database: MetricsDatabase) -> None:
    # The largest amounts of the queue, along its index.
    ((merchants, rows, dollars, oldest),) = database.rows(
        "SELECT count(*), coalesce(sum(waiting_count), 0), coalesce(sum(waiting_amount), 0),"
        " coalesce(max(extract(epoch FROM now() - created_at)), 0)"
        " FROM (SELECT waiting_count, waiting_amount, created_at FROM merchants"
        " WHERE status IN ('proposed', 'rejected') ORDER BY review_priority DESC LIMIT %s) AS queue"
        " WHERE waiting_count > 0",
        [MAX_ROWS],
    )
    metrics.gauge("kamioi_review_merchants", "Merchants waiting for a decision, up to 50,000.", merchants)
    metrics.gauge("kamioi_review_transactions", "Transactions waiting for these decisions.", rows)
    metrics.gauge("kamioi_review_waiting_dollars", "Amount of these transactions in dollars.", dollars)
    metrics.gauge("kamioi_review_oldest_seconds", "Age of the oldest of these merchants.", oldest)
    ((unproposed,),) = database.rows(
        "SELECT count(*) FROM (SELECT FROM merchants WHERE status = 'proposed' AND source = 'ingest' LIMIT %s) AS new",
        [MAX_ROWS],
    )
    metrics.gauge("kamioi_merchants_unproposed", "Merchants without a proposal, up to 50,000.", unproposed)
    counts = {"automatic": (0, 0), "reviewer": (0, 0)}
    for automatic, decisions, undone in database.rows(
        "SELECT automatic, count(*), count(undone.id) FROM (SELECT id, automatic FROM mapping_decisions AS decision"
        " WHERE (decided_at AT TIME ZONE 'UTC')::date > (now() AT TIME ZONE 'UTC')::date - %s"
        " AND undoes_id IS NULL AND action IN ('approve', 'correct', 'not_listed') LIMIT %s) AS decided"
        " LEFT JOIN (SELECT id, undoes_id FROM mapping_decisions WHERE undoes_id IS NOT NULL) AS undone"
        " ON undone.undoes_id = decided.id GROUP BY 1",
        [RECENT_DAYS, 4 * MAX_ROWS],
    ):
        counts["automatic" if automatic else "reviewer"] = decisions, undone
    for by, (decisions, undone) in counts.items():
        metrics.gauge("kamioi_decisions_recent", "Decisions on merchants of the last 7 days.", decisions, by=by)
        metrics.gauge("kamioi_decisions_recent_reversed", "How many of them were undone.", undone, by=by)


@collector("ledger", ttl=30)
def _ledger(metrics: Metrics, database: MetricsDatabase) -> None:
    for age, problems, seconds in database.rows(
        "SELECT extract(epoch FROM now() - finished_at), (result->>'problems')::int, (result->>'seconds')::float"
        " FROM background_tasks WHERE name = %s AND status = 'completed' ORDER BY created_at DESC LIMIT 1",
        [LEDGER_CHECK],
    ):
        metrics.gauge("kamioi_ledger_check_age_seconds", "Time since the last ledger check.", age)
        metrics.gauge("kamioi_ledger_check_differences", "Differences found by the last ledger check.", problems)
        metrics.gauge("kamioi_ledger_check_seconds", "Duration of the last ledger check.", seconds)


@collector("llm", ttl=30)
def _llm(metrics: Metrics, database: MetricsDatabase) -> None:
    ((calls, failed, cost, merchants),) = database.rows(
        "SELECT count(*), count(*) FILTER (WHERE error <> ''), coalesce(sum(cost), 0), coalesce(sum(merchants), 0)"
        " FROM llm_calls WHERE started_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
    )
    metrics.gauge("kamioi_llm_month_calls", "Calls to a model this calendar month.", calls)
    metrics.gauge("kamioi_llm_month_calls_failed", "How many of them failed.", failed)
    metrics.gauge("kamioi_llm_month_cost_dollars", "Cost of these calls.", cost)
    metrics.gauge("kamioi_llm_month_merchants", "Merchants in these calls.", merchants)
    ((recent, recent_failed, milliseconds),) = database.rows(
        "SELECT count(*), count(*) FILTER (WHERE error <> ''), coalesce(avg(duration_ms), 0)"
        " FROM llm_calls WHERE started_at > now() - interval '15 minutes'"
    )
    metrics.gauge("kamioi_llm_recent_calls", "Calls of the last 15 minutes.", recent)
    metrics.gauge("kamioi_llm_recent_calls_failed", "How many of them failed.", recent_failed)
    metrics.gauge("kamioi_llm_recent_call_seconds", "Their average duration.", milliseconds / 1000)
    stored = database.rows("SELECT value FROM admin_settings WHERE key = %s AND trim(value) <> ''", [_BUDGET_KEY])
    budget = float(stored[0][0]) if stored else float(settings.LLM_MONTHLY_BUDGET)
    metrics.gauge("kamioi_llm_month_budget_dollars", "Monthly budget; 0 is no limit.", budget)


@collector("cost", ttl=300)
def _cost(metrics: Metrics, database: MetricsDatabase) -> None:
    # The last 30 days, not the calendar month, which has too little data on its first days.
    ((cost, day_cost),) = database.rows(
        "SELECT coalesce(sum(cost), 0), coalesce(sum(cost) FILTER (WHERE started_at > now() - interval '1 day'), 0)"
        " FROM llm_calls WHERE started_at > now() - make_interval(days => %s)",
        [COST_DAYS],
    )
    text = "Cost of the last 30 days by part; infrastructure only if the setting has an amount."
    metrics.gauge("kamioi_cost_recent_dollars", text, cost, part="models")
    metrics.gauge("kamioi_llm_day_cost_dollars", "Cost of model calls in the last 24 hours.", day_cost)
    # CASE: a value that is no amount must not be cast, in whatever order the planner evaluates the conditions.
    for (monthly,) in database.rows(
        "SELECT CASE WHEN value ~ %s THEN value::numeric ELSE 0 END FROM admin_settings WHERE key = %s",
        [_AMOUNT, "infrastructure_monthly_cost"],
    ):
        if monthly > 0:
            share = float(monthly) * COST_DAYS * 12 / 365.25
            metrics.gauge("kamioi_cost_recent_dollars", text, share, part="infrastructure")
    ((completed,),) = database.rows(
        "SELECT coalesce(sum(rows), 0) FROM transaction_days WHERE status = 'completed'"
        " AND day > (now() AT TIME ZONE 'UTC')::date - %s AND day <= (now() AT TIME ZONE 'UTC')::date",
        [COST_DAYS],
    )
    metrics.gauge("kamioi_cost_recent_transactions", "Purchases of the last 30 days that were invested.", completed)
    ((users,),) = database.rows(
        "SELECT coalesce(max(users), 0) FROM (SELECT sum(users) AS users FROM customer_counts"
        " WHERE month >= date_trunc('month', now() AT TIME ZONE 'UTC')::date - interval '1 month'"
        " GROUP BY month) AS months"
    )
    metrics.gauge(
        "kamioi_cost_active_people", "Active users of this or the previous month, whichever is higher.", users
    )
