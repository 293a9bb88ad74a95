"""`manage.py migrate_from_sqlite STEP`: the migration from the legacy SQLite file, and back.

The runbook is docs/migration.md. Exit codes: 0 done, 1 refused or failed with the reason in one sentence, 2 `validate`
found differences.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from kamioi_site.errors import KamioiError
from transactions.legacy.cutover import cutover, cutover_obstacles, finish, rollback
from transactions.legacy.load.copy import copy_legacy_database
from transactions.legacy.plan import Plan, make_plan
from transactions.legacy.source.backup import make_backup
from transactions.legacy.source.change_log import CHANGE_LOG, SyncError, install_change_log, remove_change_log, sync_lag
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.status import status_lines
from transactions.legacy.sync.change_sync import SyncResult, follow_changes, sync_all_rows, sync_changes
from transactions.legacy.sync.outbox import disable_dual_write, enable_dual_write, get_outbox_status, send_outbox
from transactions.legacy.validate.validation import validate
from transactions.migration_phase import get_migration_state
from transactions.models import Company, MigrationRun


class Command(BaseCommand):
    """Migrate the legacy system's SQLite database to PostgreSQL."""

    help = (
        "Migrate the legacy SQLite database while it is in use. The steps in order: plan, backup, sync --install, "
        "copy, validate, sync --follow, cutover, finish. rollback returns to the legacy system, status shows the next "
        "step. See docs/migration.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add a sub-command for each step."""
        commands = parser.add_subparsers(dest="step", required=True, metavar="STEP")

        def step(name: str, text: str, *, dry_run: str = "") -> CommandParser:
            command: CommandParser = commands.add_parser(name, help=text, description=text)
            if name in ("plan", "backup", "copy", "validate", "sync"):
                command.add_argument("file", type=Path, metavar="FILE", help="the legacy kamioi.db")
            if dry_run:
                command.add_argument("--dry-run", action="store_true", help=dry_run)
            return command

        command = step("plan", "Show what is in the file, what becomes of it, and what it takes. Changes nothing.")
        command.add_argument("--quick", action="store_true", help="do not read every row")
        command = step(
            "backup",
            "Write a consistent copy of the file with its checksum, and a dump of the target.",
            dry_run="show what would be written; write nothing",
        )
        command.add_argument(
            "--to", type=Path, default=Path("backups"), metavar="FOLDER", help="directory (default: backups)"
        )
        step(
            "copy",
            "Copy everything. After a kill, run it again to continue.",
            dry_run="read every row and apply the rules; write nothing",
        )
        command = step("validate", "Compare both databases, independently of copy. Exits with 2 when they differ.")
        command.add_argument("--samples", type=int, default=5, metavar="N", help="rows shown side by side per table")
        command = step(
            "sync",
            "Apply what the legacy system wrote since the copy.",
            dry_run="show how many changes are pending; write nothing",
        )
        command.add_argument(
            "--install", action="store_true", help="create the change log (a table and triggers) in the file"
        )
        command.add_argument("--remove", action="store_true", help="drop the change log again")
        command.add_argument("--follow", action="store_true", help="continue until Ctrl-C")
        command.add_argument("--all", action="store_true", help="compare every row and apply those that differ")
        command = step(
            "dual-write", "Switch whether what Kamioi writes goes to the legacy file too.", dry_run="change nothing"
        )
        command.add_argument("switch", choices=("on", "off", "status", "send"), help="send: write what is pending, now")
        command = step(
            "cutover",
            "Serve some customers from Kamioi, or all: then it takes over the data.",
            dry_run="show what prevents it; change nothing",
        )
        command.add_argument(
            "--percent", type=int, default=100, choices=range(101), metavar="N", help="of the customers (default: 100)"
        )
        for name, text in (
            ("rollback", "Make the legacy file the system of record again, with what Kamioi wrote."),
            ("finish", "End the writes to the legacy file. There is no rollback afterwards."),
        ):
            command = step(name, text, dry_run="change nothing")
            command.add_argument("--yes", action="store_true", help="do not ask")
        step("status", "Show the state of the migration and the next step.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the step; an error is one sentence."""
        try:
            getattr(self, f"_{options['step'].replace('-', '_')}")(options)
        except KamioiError as error:
            raise CommandError(str(error)) from error

    @contextmanager
    def _run(self, command: str, path: Path | None = None) -> Iterator[MigrationRun]:
        """Record the run in `migration_runs`, however it ends short of a kill -9."""
        state = get_migration_state() if path is None else None
        source = path or (state.path if state else Path())
        run = MigrationRun.objects.create(command=command, source=str(source.resolve())[:500])
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

    @contextmanager
    def _progress_bars(self) -> Iterator[Callable[[str, int, int], None]]:
        """Yield a callback that draws one bar per table; none without a terminal."""
        bars: dict[str, Any] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in bars:
                for other in bars.values():
                    other.close()
                bars[name] = tqdm(total=total, desc=name, unit=" rows", unit_scale=True, disable=None, initial=done)
            bars[name].update(done - bars[name].n)

        try:
            yield report
        finally:
            for bar in bars.values():
                bar.close()

    # --- plan, backup, status ---------------------------------------------------------------------------------------

    def _plan(self, options: dict[str, Any]) -> None:
        with self._progress_bars() as report:
            plan = make_plan(options["file"], quick=options["quick"], on_progress=report)
        self._print_plan(plan)

    def _print_plan(self, plan: Plan) -> None:
        write = self.stdout.write
        write(f"{plan.path}: {plan.size / 1e6:,.1f} MB, {sum(table.rows for table in plan.tables):,} rows")
        for note in plan.notes:
            write(f"! {note}")
        write(f"\n{'table':<26}{'rows':>12}  becomes")
        for table in plan.tables:
            write(f"{table.name:<26}{table.rows:>12,}  {table.becomes}")
            if table.unknown:
                write(f"{'':<40}unknown columns, kept as JSON: {', '.join(table.unknown)}")
            if table.left:
                write(f"{'':<40}left behind on purpose: {', '.join(table.left)}")
        if plan.repairs:
            write("\ninvalid values, and what is done with them:")
            for name, count, rule in plan.repairs:
                write(f"  {count:>10,}  {name}: {rule}")
        if plan.rejects:
            write("\nrows that would be rejected:")
            for name, count in plan.rejects:
                write(f"  {count:>10,}  {name}")
        write(f"\ndisk needed: about {plan.disk / 1e6:,.0f} MB; time: about {plan.seconds / 60:,.1f} minutes")

    def _backup(self, options: dict[str, Any]) -> None:
        path, folder = options["file"], options["to"]
        if options["dry_run"]:
            with Snapshot(path):
                size = path.stat().st_size
            self.stdout.write(
                f"would write {size / 1e6:,.1f} MB and a dump of the target to {folder}/. Nothing was written."
            )
            return
        with self._run("backup", path) as run, self._progress_bars() as report:
            done = make_backup(path, folder, on_progress=report)
            run.details = {"source": str(done.source), "sha256": done.sha256, "target": str(done.target)}
        self.stdout.write(
            f"{done.source}: {done.bytes:,} bytes, SHA-256 {done.sha256}\n{done.target}: dump of the target"
        )

    def _status(self, options: dict[str, Any]) -> None:
        for line in status_lines():
            self.stdout.write(line)

    # --- copy and validate ------------------------------------------------------------------------------------------

    def _copy(self, options: dict[str, Any]) -> None:
        path = options["file"]
        if options["dry_run"]:
            self._plan(options | {"quick": False})
            self.stdout.write("Nothing was written.")
            return
        if not Company.objects.exists():
            self.stdout.write("The company table is empty; merchants can only be approved for listed companies:")
            call_command("import_companies", stdout=self.stdout)
        with self._run("copy", path) as run, self._progress_bars() as report:
            result = copy_legacy_database(path=path, run=run, on_progress=report)
        if result.source_changed:
            self.stdout.write(
                "! The legacy system wrote since an earlier run; rows that were copied before do not have its changes. "
                "`validate` lists what differs."
            )
        self.stdout.write(f"{'table':<26}{'read':>12}{'loaded':>12}{'rejected':>10}  repaired")
        for name, table in result.tables.items():
            repairs = ", ".join(f"{kind} {count:,}" for kind, count in sorted(table.repairs.items()) if count)
            self.stdout.write(
                f"{name:<26}{table.rows_read:>12,}{table.rows_loaded:>12,}{table.rows_rejected:>10,}  {repairs}"
            )
        directory = result.directory
        self.stdout.write(
            f"directory: {directory['merchants']:,} merchants, {directory['approved']:,} approved, "
            f"{directory['conflicts']:,} with conflicts"
        )
        if result.rejected:
            self.stdout.write(f"{result.rejected:,} rows were rejected; see Migration rejects in the admin.")
        # The copy does not count row by row: the rollups count its months as a whole.
        call_command("calculate_analytics", stdout=self.stdout)

    def _validate(self, options: dict[str, Any]) -> None:
        with self._run("validate", options["file"]) as run, self._progress_bars() as report:
            result = validate(options["file"], samples=options["samples"], on_progress=report)
            run.details = result.as_json()
            run.status = "done" if result.clean else "differs"
        for line in result.lines():
            self.stdout.write(line)
        if not result.clean:
            sys.exit(2)

    # --- sync -------------------------------------------------------------------------------------------------------

    def _sync(self, options: dict[str, Any]) -> None:
        path, dry_run = options["file"], options["dry_run"]
        if options["install"] or options["remove"]:
            self._change_log(path, "install" if options["install"] else "remove", dry_run=dry_run)
            return
        if dry_run:
            entries, seconds = sync_lag(path)
            self.stdout.write(f"{entries:,} changes are pending, {seconds:,.1f} seconds behind. Nothing was written.")
            return
        with self._run("sync", path) as run:
            if options["all"]:
                with self._progress_bars() as report:
                    applied = sync_all_rows(path, run, on_progress=report)
                self.stdout.write(
                    f"{applied.written:,} rows written, {applied.rejected:,} rejected, {applied.gone:,} deleted."
                )
                run.details = {"written": applied.written, "rejected": applied.rejected, "gone": applied.gone}
            elif options["follow"]:
                self._follow(path, run)
            else:
                total = sync_changes(path, run, on_progress=self._print_sync)
                run.rows_done = run.rows_total = total
                self.stdout.write(f"{total:,} changes applied; nothing is pending.")

    def _change_log(self, path: Path, action: str, *, dry_run: bool) -> None:
        if dry_run:
            self.stdout.write(f"would {action} the change log ({CHANGE_LOG}, and triggers). Nothing was written.")
            return
        with self._run(f"sync --{action}", path):
            if action == "install":
                message = f"Changes of {install_change_log(path)} tables are logged."
            else:
                remove_change_log(path)
                message = "The change log was removed."
        self.stdout.write(message)

    def _print_sync(self, done: SyncResult) -> None:
        if done.applied:
            self.stdout.write(
                f"{timezone.now():%H:%M:%S}  {done.entries:,} changes: {done.applied.written:,} rows written, "
                f"{done.applied.rejected:,} rejected, {done.applied.gone:,} deleted; lag {done.lag:.2f} s"
            )

    def _follow(self, path: Path, run: MigrationRun) -> None:
        self.stdout.write("Following changes; press Ctrl-C to stop.")
        saved = 0.0
        try:
            for done in follow_changes(path, run):
                self._print_sync(done)
                run.rows_done += done.entries
                if time.monotonic() - saved > 1:
                    saved = time.monotonic()
                    run.details = {"lag_seconds": round(done.lag, 2)}
                    run.save(update_fields=["rows_done", "details"])
        except KeyboardInterrupt:
            self.stdout.write("")
        except SyncError as error:  # after a cut-over
            self.stdout.write(str(error))

    # --- dual-write, cut-over, rollback, finish ---------------------------------------------------------------------

    def _dual_write(self, options: dict[str, Any]) -> None:
        switch, status = options["switch"], get_outbox_status()
        if switch == "status" or options["dry_run"]:
            self.stdout.write(
                f"dual-write is {'on' if status.on else 'off'}; {status.pending:,} rows pending, "
                f"for {status.seconds:,.0f} seconds"
            )
            if status.error:
                self.stdout.write(f"! {status.error}")
            return
        with self._run(f"dual-write {switch}"):
            if switch == "send":
                total = 0
                while sent := send_outbox():
                    total += sent
                self.stdout.write(f"{total:,} changes written to the legacy file")
            elif switch == "on":
                enable_dual_write()
                self.stdout.write("From now on what Kamioi writes goes to the legacy file too.")
            else:
                disable_dual_write()
                self.stdout.write(f"New changes no longer go to the legacy file; {status.pending:,} rows are pending.")

    def _cutover(self, options: dict[str, Any]) -> None:
        percent = options["percent"]
        if options["dry_run"]:
            obstacles = cutover_obstacles(percent)
            self.stdout.write("\n".join(f"! {line}" for line in obstacles) or "The cut-over is possible.")
            if obstacles:
                sys.exit(1)
            return
        with self._run("cutover") as run:
            message = cutover(run, percent=percent)
            run.details = {"percent": percent}
        self.stdout.write(message)
        if percent == 100:
            call_command("calculate_analytics", stdout=self.stdout)

    def _rollback(self, options: dict[str, Any]) -> None:
        self._confirm_and_run("rollback", "The legacy system takes charge again", options, rollback)

    def _finish(self, options: dict[str, Any]) -> None:
        self._confirm_and_run("finish", "There is no way back to the legacy system after this", options, finish)

    def _confirm_and_run(self, name: str, effect: str, options: dict[str, Any], step: Callable[[], str]) -> None:
        self.stdout.write(f"{effect}. {get_outbox_status().pending:,} rows will be written to the legacy file first.")
        if options["dry_run"]:
            return
        if not options["yes"] and input(f"Type '{name}' to continue: ").strip() != name:
            raise CommandError("Nothing was changed.")
        with self._run(name):
            message = step()
        self.stdout.write(message)
