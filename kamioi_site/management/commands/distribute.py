"""Distribute the tables over the nodes of a Citus cluster."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.db.distribution import (
    DistributionError,
    apply_distribution,
    find_distribution_problems,
    plan_distribution,
)


class Command(BaseCommand):
    """`manage.py distribute [--dry-run]`; running it again continues after an interruption."""

    help = "Distribute the tables over a Citus cluster by user; --dry-run prints the SQL and changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the flags."""
        parser.add_argument("--dry-run", action="store_true", help="print the SQL and change nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Print or apply the plan."""
        steps = plan_distribution()
        if dry_run:
            for step in steps:
                self.stdout.write(f"-- {step.description}\n{step.sql};")
            for problem in find_distribution_problems():
                self.stderr.write(f"-- problem: {problem}")
            return
        try:
            for step in apply_distribution(steps):
                self.stdout.write(step.description)
        except DistributionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write("Every table is distributed already." if not steps else f"{len(steps)} steps done.")
