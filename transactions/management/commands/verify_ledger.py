"""`manage.py verify_ledger`: exit 1, and the offending rows, when the books disagree."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from transactions.services.ledger import LedgerProblem, ledger_check


class Command(BaseCommand):
    """Check that holdings, ledger and transactions agree."""

    help = (
        "Check that holdings = sum of the ledger, that every completed transaction is booked once and whole, "
        "and that every account exists."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How much to print."""
        parser.add_argument("--show", type=int, default=50, help="how many offending rows to print (default 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what disagrees."""
        shown = 0

        def show(problem: LedgerProblem) -> None:
            nonlocal shown
            if shown < options["show"]:
                self.stdout.write(str(problem))
                shown += 1

        done = ledger_check(report=show)
        seconds = (done.finished_at - done.started_at).total_seconds()
        if done.differences:
            raise CommandError(f"the ledger is wrong: {done.differences} disagreements ({seconds:.1f} s)")
        self.stdout.write(f"The ledger is right: holdings, transfers and transactions agree ({seconds:.1f} s).")
