"""Which tests run on a Citus cluster too: `CITUS_URL=… pytest -m citus`."""

import os
import sys
from urllib.parse import urlsplit, urlunsplit

# The marker moves the whole session to the cluster.
ON_CITUS = bool(os.environ.get("CITUS_URL")) and "citus" in sys.argv
# Folders and files.
TESTS = (
    "analytics/dashboards",
    "analytics/selectors",
    "analytics/services",
    "llm_center/admin/test_review_pages.py",
    "llm_center/services/review",
    "llm_center/services/test_amortization.py",
    "llm_center/services/test_proposal_queue.py",
    "llm_center/test_selectors.py",
    "transactions/services/test_detached_partitions.py",
    "transactions/services/test_fixed_amounts.py",
    "transactions/services/test_holds.py",
    "transactions/services/test_ingest.py",
    "transactions/services/test_journal.py",
    "transactions/services/test_ledger_seals.py",
    "transactions/services/test_limits.py",
    "transactions/services/test_periods.py",
    "transactions/services/test_platform_fees.py",
    "transactions/services/test_possible_duplicates.py",
    "transactions/services/test_privacy.py",
    "transactions/services/test_processing.py",
    "transactions/services/test_refunds.py",
    "transactions/services/test_settlement.py",
    "transactions/services/test_statement_undo.py",
)
_ERROR_CODE = "Citus reports a key that an INSERT over many shards violates without its error code"
_ADDED_CHECK = "Citus names a check that a detached month gets by its shard, and then does not attach it"
_OWN_UPDATE = "the test changes rows by a statement that Citus refuses"
_ONE_ROLE = "the cluster of the tests has one role"
_NO_COUNTS = "PostgreSQL counts no writes to shards; the nightly recheck finds what has no delta"
_MOMENTS = "a statement reads each shard at its own moment; the next recheck corrects what a recount missed"
_PLANS = "the coordinator does not show the plans of the shards"
# Parts of test names that are left out there, and why.
NOT_ON_CITUS = {
    "[sql10-": _ERROR_CODE,
    "[sql12-": _ERROR_CODE,
    "test_a_detached_month_gets_the_present_checks": _ADDED_CHECK,
    "test_tampering_with_a_detached_month_is_found": _ADDED_CHECK,
    "covers_every_column[user_id": _OWN_UPDATE,
    "covers_every_column[date": _OWN_UPDATE,
    "covers_every_column[created_at": _OWN_UPDATE,
    "neither_reopened_nor_written_by_the_application": _ONE_ROLE,
    "test_the_application_can_only_add_seals": _ONE_ROLE,
    "test_the_database_refuses_changes_and_values_out_of_bounds": _ONE_ROLE,
    "are_found_by_the_index": _PLANS,
    "are_found_by_their_index": _PLANS,
    "test_counted_writes_that_are_never_reported": _NO_COUNTS,
    "test_rows_of_the_default_partition_are_counted": _NO_COUNTS,
    "test_uncounted_writes": _NO_COUNTS,
    "test_reset_statistics_cause": _NO_COUNTS,
    "test_concurrent_refreshes_and_writers": _MOMENTS,
    "test_a_booking_that_commits_late": "a transaction that writes to shards only has no number on the coordinator",
    "services/test_demo.py": "the demo joins a temporary table, and is for one PostgreSQL",
    "test_of_two_opposite_decisions_at_once": "the coordinator does not show who waits for a lock on a shard",
    "test_a_page_takes_five_queries": "settings are sent around one of the five",
    "test_a_large_directory_is_sampled": "the coordinator does not know the size of a table on the shards",
    "the_months_of_an_old_statement_are_made": "expects the names of partitions, which are shards there",
}


def is_for_citus(path: str, name: str) -> bool:
    """Whether the marker `citus` belongs on this test; `path` is relative to `tests`."""
    return path.startswith(TESTS) and not any(part in f"{path}::{name}" for part in NOT_ON_CITUS)


def database_url() -> str:
    """Return the address that Django's settings need: it puts `test_` before the name of the database."""
    parts = urlsplit(os.environ["CITUS_URL"])
    if not parts.path.startswith("/test_"):
        sys.exit("CITUS_URL: the database has to be called test_<name>")
    return urlunsplit(parts._replace(path="/" + parts.path.removeprefix("/test_")))
