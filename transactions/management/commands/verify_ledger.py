"""`manage.py verify_ledger`: prints the offending rows and exits with 1 when the books disagree."""

import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from transactions.services.ledger_verification import find_ledger_problems


class Command(BaseCommand):
    help = (
        "Check that holdings, ledger, transactions and seals agree. Without --all, start from the last seal: changes of"
        " sealed days are not seen."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="recount every row and every seal")
        parser.add_argument("--seals", type=Path, metavar="FILE", help="compare the seals with this file (SEALS_FILE)")
        parser.add_argument("--show", type=int, default=50, help="how many offending rows to print (default 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        problems = 0
        try:
            for problem in find_ledger_problems(everything=options["all"], seals=options["seals"]):
                problems += 1
                if problems <= options["show"]:
                    self.stdout.write(str(problem))
        except (OSError, ValueError) as error:
            raise CommandError(f"the file of seals cannot be read: {error}") from error
        seconds = time.monotonic() - started
        if problems:
            raise CommandError(f"the ledger is inconsistent: {problems} problems ({seconds:.1f} s)")
        self.stdout.write(f"The ledger is consistent: holdings, transfers and transactions agree ({seconds:.1f} s).")
