"""`manage.py verify_ledger`: exit 1, and the offending rows, when the books disagree."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from transactions.services.ledger_verification import find_ledger_problems


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
        started = time.monotonic()
        problems = 0
        for problem in find_ledger_problems():
            problems += 1
            if problems <= options["show"]:
                self.stdout.write(str(problem))
        seconds = time.monotonic() - started
        if problems:
            raise CommandError(f"the ledger is wrong: {problems} disagreements ({seconds:.1f} s)")
        self.stdout.write(f"The ledger is right: holdings, transfers and transactions agree ({seconds:.1f} s).")
