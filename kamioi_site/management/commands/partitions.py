"""`manage.py partitions plan|apply|status|detach|attach`."""

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.db import partitions


class Command(BaseCommand):
    """Show, create, detach and attach partitions."""

    help = (
        "Partitions by month: plan what is missing, apply it, show the status, detach the oldest, or attach it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommands."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("plan", help="show the partitions to create and the stray rows to move; changes nothing")
        verbs.add_parser("apply", help="create the missing partitions and empty the default ones")
        verbs.add_parser(
            "status", help="list partitions, stray rows and months created ahead; exit code 1 if a table needs `apply`"
        )
        detach = verbs.add_parser("detach", help="detach the oldest month or year; its table and rows stay")
        detach.add_argument("--yes", action="store_true", help="do not ask")
        attach = verbs.add_parser("attach", help="attach the month or year that was detached last")
        for verb in (detach, attach):
            verb.add_argument("table")
            verb.add_argument("period", help="YYYY-MM, or YYYY for a year in one partition")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the subcommand."""
        getattr(self, f"_{options['verb']}")(options)

    def _plan(self, options: dict[str, Any]) -> None:
        self._show(partitions.plan_partitions(), "to create", "stray rows to move")

    def _apply(self, options: dict[str, Any]) -> None:
        self._show(partitions.apply_partitions(), "created", "stray rows moved")

    def _show(self, plan: partitions.PartitionPlan, created: str, moved: str) -> None:
        if not plan:
            self.stdout.write("Nothing to do: every month exists and the default partitions are empty.")
        for table, months in plan.creations.items():
            self.stdout.write(f"{table}: {created}: {', '.join(month.strftime('%Y-%m') for month in months)}")
        for table, months in plan.strays.items():
            self.stdout.write(f"{table}: {moved}: {', '.join(month.strftime('%Y-%m') for month in months)}")

    def _status(self, options: dict[str, Any]) -> None:
        alarms = 0
        for status in partitions.partition_status():
            months = [name for name in status.partitions if not name.endswith("_default")]
            alarm = status.default_rows > 0 or status.headroom_months < 1
            alarms += alarm
            self.stdout.write(
                f"{status.table}: {len(months)} partitions ({months[0] if months else '-'} … "
                f"{months[-1] if months else '-'}), {status.headroom_months} created ahead, "
                f"{status.default_rows} rows in the default partition{'  <-- run: partitions apply' if alarm else ''}"
            )
        if alarms:
            raise CommandError("some tables need `manage.py partitions apply`")

    def _detach(self, options: dict[str, Any]) -> None:
        model = self._model(options)
        if not options["yes"]:
            answer = input(
                f"Detach {options['period']} from {options['table']}? "
                "Its rows disappear from every list; the daily figures stay. [y/N] "
            )
            if answer.strip().lower() != "y":
                self.stdout.write("Nothing changed.")
                return
        try:
            name = partitions.detach_partition(model, options["period"])
        except partitions.PartitionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{name} was detached; its table is kept.")

    def _attach(self, options: dict[str, Any]) -> None:
        try:
            name = partitions.attach_partition(self._model(options), options["period"])
        except partitions.PartitionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{name} was attached.")

    def _model(self, options: dict[str, Any]) -> type[partitions.MonthlyPartitionedModel]:
        models = {model._meta.db_table: model for model in partitions.partitioned_models()}
        if options["table"] not in models:
            raise CommandError(f"unknown table {options['table']}; one of {', '.join(sorted(models))}")
        if not re.fullmatch(r"\d{4}(-(0[1-9]|1[0-2]))?", options["period"]):
            raise CommandError("the period must be YYYY-MM or YYYY")
        return models[options["table"]]
