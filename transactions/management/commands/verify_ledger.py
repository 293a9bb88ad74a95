"""`manage.py verify_ledger`: prints the offending rows and exits with 1 when the books disagree."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from transactions.services.ledger_verification import find_ledger_problems


class Command(BaseCommand):
    help = (
        "Check that holdings are the sum of the ledger, that every completed transaction is booked once and completely,"
        " and that every account exists."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--show", type=int, default=50, help="how many offending rows to print (default 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        problems = 0
        for problem in find_ledger_problems():
            problems += 1
            if problems <= options["show"]:
                self.stdout.write(str(problem))
        seconds = time.monotonic() - started
        if problems:
            raise CommandError(f"the ledger is inconsistent: {problems} problems ({seconds:.1f} s)")
        self.stdout.write(f"The ledger is consistent: holdings, transfers and transactions agree ({seconds:.1f} s).")
