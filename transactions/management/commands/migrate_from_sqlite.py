"""`manage.py migrate_from_sqlite plan|backup|copy|validate|status`: the way over from the legacy SQLite file.

The runbook is docs/migration.md. Exit codes: 0 done, 1 refused or failed (one sentence says why), 2 `validate` found
differences.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from kamioi_site.errors import KamioiError
from transactions.legacy.copy import copy
from transactions.legacy.plan import Plan, plan, status
from transactions.legacy.source import Snapshot
from transactions.models import Company, MigrationRun


class Command(BaseCommand):
    """Carry the legacy system's SQLite database over to PostgreSQL."""

    help = "Carry the legacy SQLite database over: plan, backup, copy, validate, status. See docs/migration.md."

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand each."""
        commands = parser.add_subparsers(dest="step", required=True, metavar="STEP")

        def step(name: str, text: str) -> CommandParser:
            added: CommandParser = commands.add_parser(name, help=text, description=text)
            if name != "status":
                added.add_argument("file", type=Path, metavar="FILE", help="the legacy kamioi.db")
            return added

        planned = step("plan", "What is in the file, what becomes of it, what it takes. Changes nothing.")
        planned.add_argument("--quick", action="store_true", help="leave out the check of the whole file and the dirt")
        saved = step("backup", "A consistent copy of the file with its checksum, and a dump of the target.")
        saved.add_argument(
            "--to", type=Path, default=Path("backups"), metavar="FOLDER", help="where (default: backups)"
        )
        saved.add_argument("--dry-run", action="store_true", help="say what would be written; write nothing")
        copied = step("copy", "Carry everything over. Killed and started again, it goes on where it stood.")
        copied.add_argument("--dry-run", action="store_true", help="read and judge every row; write nothing")
        checked = step("validate", "Compare both sides, read independently of copy. Exit code 2 when they differ.")
        checked.add_argument("--samples", type=int, default=5, metavar="N", help="rows shown side by side per table")
        step("status", "Where the migration stands, and what the next step is.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the step; what it cannot do is one sentence."""
        try:
            getattr(self, f"_{options['step']}")(options)
        except KamioiError as error:
            raise CommandError(str(error)) from error

    @contextmanager
    def _run(self, command: str, path: Path) -> Iterator[MigrationRun]:
        """A row of `migration_runs` that tells how it ended, whatever happens short of a kill -9."""
        run = MigrationRun.objects.create(command=command, source=str(path.resolve())[:500])
        try:
            yield run
        except BaseException as error:
            run.status, run.finished_at = "failed", timezone.now()
            run.details = run.details | {"error": str(error)[:1000] or type(error).__name__}
            run.save(update_fields=["status", "finished_at", "details"])
            raise
        if run.status == "running":
            run.status = "done"
        run.finished_at = timezone.now()
        run.save()

    # --- plan -------------------------------------------------------------------------------------------------------

    def _plan(self, options: dict[str, Any]) -> None:
        with self._bar() as report:
            found = plan(options["file"], quick=options["quick"], report=report)
        self._print_plan(found)

    def _print_plan(self, found: Plan) -> None:
        say = self.stdout.write
        say(f"{found.path}: {found.size / 1e6:,.1f} MB, {sum(table.rows for table in found.tables):,} rows")
        for note in found.notes:
            say(f"! {note}")
        say(f"\n{'table':<26}{'rows':>12}  becomes")
        for table in found.tables:
            say(f"{table.name:<26}{table.rows:>12,}  {table.becomes}")
            if table.unknown:
                say(f"{'':<40}unknown columns, kept as JSON: {', '.join(table.unknown)}")
            if table.left:
                say(f"{'':<40}left behind on purpose: {', '.join(table.left)}")
        if found.dirt:
            say("\ndirt found, and its rule:")
            for name, count, rule in found.dirt:
                say(f"  {count:>10,}  {name}: {rule}")
        if found.rejects:
            say("\nrows that would be rejected:")
            for name, count in found.rejects:
                say(f"  {count:>10,}  {name}")
        say(f"\ndisk needed: about {found.disk / 1e6:,.0f} MB; time: about {found.seconds / 60:,.1f} minutes")

    # --- backup -----------------------------------------------------------------------------------------------------

    def _backup(self, options: dict[str, Any]) -> None:
        from transactions.legacy.backup import backup  # noqa: PLC0415

        path, folder = options["file"], options["to"]
        if options["dry_run"]:
            with Snapshot(path):
                size = path.stat().st_size
            self.stdout.write(
                f"would write {size / 1e6:,.1f} MB and a dump of the target to {folder}/. Nothing was written."
            )
            return
        with self._run("backup", path) as run, self._bar() as report:
            done = backup(path, folder, report=report)
            run.details = {"source": str(done.source), "sha256": done.sha256, "target": str(done.target)}
        self.stdout.write(
            f"{done.source}: {done.bytes:,} bytes, SHA-256 {done.sha256}\n{done.target}: dump of the target"
        )

    # --- copy -------------------------------------------------------------------------------------------------------

    def _copy(self, options: dict[str, Any]) -> None:
        path = options["file"]
        if options["dry_run"]:
            with self._bar() as report:
                self._print_plan(plan(path, report=report))
            self.stdout.write("Nothing was written.")
            return
        if not Company.objects.exists():
            self.stdout.write("The company table is empty; merchants can only be approved for listed companies:")
            call_command("import_companies", stdout=self.stdout)
        with self._run("copy", path) as run, self._bar() as report:
            done = copy(path=path, run=run, report=report)
        if done.source_moved:
            self.stdout.write(
                "! The legacy system wrote since an earlier run; rows that were carried over before are as they were then. "
                "`validate` lists what differs."
            )
        self.stdout.write(f"{'table':<26}{'read':>12}{'loaded':>12}{'rejected':>10}  repaired")
        for name, table in done.tables.items():
            repairs = ", ".join(f"{kind} {count:,}" for kind, count in sorted(table.repairs.items()) if count)
            self.stdout.write(
                f"{name:<26}{table.rows_read:>12,}{table.rows_loaded:>12,}{table.rows_rejected:>10,}  {repairs}"
            )
        found = done.directory
        self.stdout.write(
            f"directory: {found['merchants']:,} merchants, {found['approved']:,} approved, {found['conflicts']:,} in conflict"
        )
        if done.rejected:
            self.stdout.write(f"{done.rejected:,} rows were rejected; see Migration rejects in the admin.")

    # --- validate and status ----------------------------------------------------------------------------------------

    def _validate(self, options: dict[str, Any]) -> None:
        from transactions.legacy.validate import validate  # noqa: PLC0415

        with self._run("validate", options["file"]) as run, self._bar() as report:
            result = validate(options["file"], samples=options["samples"], report=report)
            run.details = result.as_json()
            run.status = "done" if result.clean else "differs"
        for line in result.lines():
            self.stdout.write(line)
        if not result.clean:
            sys.exit(2)

    def _status(self, options: dict[str, Any]) -> None:
        for line in status():
            self.stdout.write(line)

    @contextmanager
    def _bar(self) -> Iterator[Any]:
        """A progress bar per table, with rate and time left; none where nobody looks."""
        bars: dict[str, Any] = {}

        def report(name: str, done: int, total: int) -> None:
            bar = bars.get(name)
            if bar is None:
                for other in bars.values():
                    other.close()
                bars[name] = bar = tqdm(
                    total=total, desc=name, unit=" rows", unit_scale=True, disable=None, initial=done
                )
            bar.update(done - bar.n)

        try:
            yield report
        finally:
            for bar in bars.values():
                bar.close()
