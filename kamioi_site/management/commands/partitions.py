"""`manage.py partitions plan|apply|status|detach`."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.db import partitions


class Command(BaseCommand):
    """Show, make and detach monthly partitions."""

    help = "Monthly partitions: plan what is missing, apply it, show the status, or detach an old month."

    def add_arguments(self, parser: CommandParser) -> None:
        """The four verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("plan", help="show the partitions to make and the stray rows to move; changes nothing")
        verbs.add_parser("apply", help="make the missing partitions and empty the default ones")
        verbs.add_parser("status", help="list partitions, stray rows and months made ahead; exit 1 on an alarm")
        detach = verbs.add_parser("detach", help="detach an old month; its table and rows stay")
        detach.add_argument("table")
        detach.add_argument("month", help="YYYY-MM")
        detach.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        getattr(self, f"_{options['verb']}")(options)

    def _plan(self, options: dict[str, Any]) -> None:
        self._show(partitions.plan_partitions(), "to make", "stray rows to move")

    def _apply(self, options: dict[str, Any]) -> None:
        self._show(partitions.apply_partitions(), "made", "stray rows moved")

    def _show(self, plan: partitions.PartitionPlan, made: str, moved: str) -> None:
        if not plan:
            self.stdout.write("Nothing to do: every month is there and the default partitions are empty.")
        for table, months in plan.creations.items():
            self.stdout.write(f"{table}: {made}: {', '.join(month.strftime('%Y-%m') for month in months)}")
        for table, months in plan.strays.items():
            self.stdout.write(f"{table}: {moved}: {', '.join(month.strftime('%Y-%m') for month in months)}")

    def _status(self, options: dict[str, Any]) -> None:
        alarms = 0
        for status in partitions.partition_status():
            months = [name for name in status.partitions if not name.endswith("_default")]
            alarm = status.default_rows > 0 or status.headroom_months < 1
            alarms += alarm
            self.stdout.write(
                f"{status.table}: {len(months)} months ({months[0] if months else '-'} … "
                f"{months[-1] if months else '-'}), {status.headroom_months} made ahead, "
                f"{status.default_rows} rows in the default partition{'  <-- run: partitions apply' if alarm else ''}"
            )
        if alarms:
            raise CommandError("some tables need `manage.py partitions apply`")

    def _detach(self, options: dict[str, Any]) -> None:
        models = {model._meta.db_table: model for model in partitions.partitioned_models()}
        if options["table"] not in models:
            raise CommandError(f"unknown table {options['table']}; one of {', '.join(sorted(models))}")
        try:
            month = datetime.strptime(options["month"], "%Y-%m").replace(tzinfo=UTC).date()
        except ValueError as error:
            raise CommandError("the month is written YYYY-MM") from error
        if not options["yes"]:
            answer = input(
                f"Detach {options['month']} from {options['table']}? Its rows leave every list; the figures of its days stay. [y/N] "
            )
            if answer.strip().lower() != "y":
                self.stdout.write("Nothing was changed.")
                return
        try:
            name = partitions.detach_partition(models[options["table"]], month)
        except partitions.PartitionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{name} is detached; the table is kept.")
