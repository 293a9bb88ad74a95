"""The demo fills every list and chart of the tour."""

import time

import pytest
from django.db import connection

from analytics.dashboards import DASHBOARDS
from analytics.dashboards.framework import PageContext, render_panel
from analytics.selectors.periods import Period
from analytics.services.demo import ADMIN_EMAIL, DAYS, REVIEWERS, load_demo
from analytics.services.rollups import verify_rollups
from llm_center.models import MappingDecision
from transactions.models import PossibleDuplicate, User
from transactions.services.ledger_verification import find_ledger_problems

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
# These panels need a replica, a legacy migration or an extension that the embedded server lacks.
OPTIONAL = {"replicas", "migration", "slow"}
TABLES = """
    account_members bank_accounts import_profiles unmatched_refunds
    transactions holdings ledger_transfers journal_entries journal_drafts statement_imports statement_rejects
    notifications goals merchants llm_mappings mapping_decisions pending_decisions mapping_imports
    mapping_import_rejects collections broker_orders broker_positions
    orders calibration_fits llm_calls llm_data_assets llm_asset_events amortization_entries reports background_tasks
""".split()


def _counts() -> dict[str, int]:
    counts = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = cursor.fetchone()[0]
    return counts


def test_the_demo_fills_every_list_and_chart_once(settings, tmp_path, subtests):
    settings.KAMIOI_HOME = tmp_path
    started, cpu = time.monotonic(), time.process_time()
    load_demo(say=print)
    print(f"{time.monotonic() - started:.1f} s, {time.process_time() - cpu:.1f} s of CPU time")
    counts = _counts()
    assert [table for table, count in counts.items() if not count] == []
    load_demo(say=print)
    assert _counts() == counts
    assert list(find_ledger_problems()) == []
    assert list(verify_rollups()) == []
    assert PossibleDuplicate.objects.filter(status="on_hold", related_id__isnull=False).count() == 1
    decisions = MappingDecision.objects.filter(automatic=False)
    deciders = {email for email, _ in REVIEWERS} | {ADMIN_EMAIL}  # the administrator uploaded the mapping file
    assert set(decisions.values_list("decided_by__email", flat=True)) == deciders
    assert decisions.filter(action="undo").count() == 1
    assert len({decision.decided_at.date() for decision in decisions}) > DAYS / 3
    page = PageContext(User.objects.get(email=ADMIN_EMAIL), Period.of_days(30))
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            if not panel.deferred and panel.name not in OPTIONAL:
                with subtests.test(dashboard.name, panel=panel.name):
                    shown = render_panel(panel, page)
                    assert shown.content is not None, shown.error
                    assert shown.content.empty == ""
