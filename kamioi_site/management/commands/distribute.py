"""Spread the tables over the machines of a Citus cluster."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.db.distribution import (
    DistributionError,
    apply_distribution,
    find_distribution_problems,
    plan_distribution,
)


class Command(BaseCommand):
    """`manage.py distribute [--dry-run]`: can be run again, goes on where it was."""

    help = "Distribute the tables over a Citus cluster by user; --dry-run prints the statements and changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Flags of the command."""
        parser.add_argument("--dry-run", action="store_true", help="print the statements, change nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Print the plan or carry it out."""
        steps = plan_distribution()
        if dry_run:
            for step in steps:
                self.stdout.write(f"-- {step.what}\n{step.sql};")
            for problem in find_distribution_problems():
                self.stderr.write(f"-- in the way: {problem}")
            return
        try:
            for step in apply_distribution(steps):
                self.stdout.write(step.what)
        except DistributionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write("Everything is where it belongs." if not steps else f"{len(steps)} steps done.")
