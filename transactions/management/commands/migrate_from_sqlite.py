"""`manage.py migrate_from_sqlite STEP`: the way over from the legacy SQLite file, and back.

The runbook is docs/migration.md. Exit codes: 0 done, 1 refused or failed (one sentence says why), 2 `validate` found
differences.
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
from transactions.legacy.plan import Plan, plan, status
from transactions.legacy.source.backup import make_backup
from transactions.legacy.source.change_log import LOG, SyncError, install_change_log, remove_change_log, sync_lag
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.sync.change_sync import SyncResult, follow_changes, sync_all_rows, sync_changes
from transactions.legacy.sync.outbox import disable_dual_write, enable_dual_write, get_outbox_status, send_outbox
from transactions.legacy.validate.validation import validate
from transactions.migration_phase import get_migration_state
from transactions.models import Company, MigrationRun


class Command(BaseCommand):
    """Carry the legacy system's SQLite database over to PostgreSQL."""

    help = (
        "Carry the legacy SQLite database over while it is in use. The steps in order: plan, backup, sync --install, copy, "
        "validate, sync --follow, cutover, finish; rollback goes back, status says where it stands. See docs/migration.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand each."""
        commands = parser.add_subparsers(dest="step", required=True, metavar="STEP")

        def step(name: str, text: str) -> CommandParser:
            added: CommandParser = commands.add_parser(name, help=text, description=text)
            if name in ("plan", "backup", "copy", "validate", "sync"):
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
        synced = step("sync", "Carry over what the legacy system wrote since the copy.")
        synced.add_argument(
            "--install", action="store_true", help="put the log of changes (a table and triggers) into the file"
        )
        synced.add_argument("--remove", action="store_true", help="take the log of changes away again")
        synced.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
        synced.add_argument("--all", action="store_true", help="compare every row and carry over those that differ")
        synced.add_argument("--dry-run", action="store_true", help="say how many changes wait; write nothing")
        both = step("dual-write", "Whether what Kamioi writes goes to the legacy file too.")
        both.add_argument("switch", choices=("on", "off", "status", "send"), help="send: write what waits, now")
        both.add_argument("--dry-run", action="store_true", help="change nothing")
        over = step("cutover", "Let Kamioi answer some users, or all: then it takes charge of the data.")
        over.add_argument(
            "--percent", type=int, default=100, choices=range(101), metavar="N", help="of the users (default: 100)"
        )
        over.add_argument("--dry-run", action="store_true", help="say what stands in the way; change nothing")
        for name, text in (
            ("rollback", "The legacy file is the truth again, with what was written meanwhile."),
            ("finish", "End the writes to the legacy file. There is no way back afterwards."),
        ):
            ended = step(name, text)
            ended.add_argument("--dry-run", action="store_true", help="change nothing")
            ended.add_argument("--yes", action="store_true", help="do not ask")
        step("status", "Where the migration stands, and what the next step is.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the step; what it cannot do is one sentence."""
        try:
            getattr(self, f"_{options['step'].replace('-', '_')}")(options)
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
            found = plan(options["file"], quick=options["quick"], on_progress=report)
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
        path, folder = options["file"], options["to"]
        if options["dry_run"]:
            with Snapshot(path):
                size = path.stat().st_size
            self.stdout.write(
                f"would write {size / 1e6:,.1f} MB and a dump of the target to {folder}/. Nothing was written."
            )
            return
        with self._run("backup", path) as run, self._bar() as report:
            done = make_backup(path, folder, on_progress=report)
            run.details = {"source": str(done.source), "sha256": done.sha256, "target": str(done.target)}
        self.stdout.write(
            f"{done.source}: {done.bytes:,} bytes, SHA-256 {done.sha256}\n{done.target}: dump of the target"
        )

    # --- copy -------------------------------------------------------------------------------------------------------

    def _copy(self, options: dict[str, Any]) -> None:
        path = options["file"]
        if options["dry_run"]:
            with self._bar() as report:
                self._print_plan(plan(path, on_progress=report))
            self.stdout.write("Nothing was written.")
            return
        if not Company.objects.exists():
            self.stdout.write("The company table is empty; merchants can only be approved for listed companies:")
            call_command("import_companies", stdout=self.stdout)
        with self._run("copy", path) as run, self._bar() as report:
            done = copy_legacy_database(path=path, run=run, on_progress=report)
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
        # The copy counts nothing row by row: its months are new to the figures, and are counted whole.
        call_command("calculate_analytics", stdout=self.stdout)

    # --- validate and status ----------------------------------------------------------------------------------------

    def _validate(self, options: dict[str, Any]) -> None:
        with self._run("validate", options["file"]) as run, self._bar() as report:
            result = validate(options["file"], samples=options["samples"], on_progress=report)
            run.details = result.as_json()
            run.status = "done" if result.clean else "differs"
        for line in result.lines():
            self.stdout.write(line)
        if not result.clean:
            sys.exit(2)

    def _status(self, options: dict[str, Any]) -> None:
        for line in status():
            self.stdout.write(line)

    # --- sync -------------------------------------------------------------------------------------------------------

    def _sync(self, options: dict[str, Any]) -> None:
        path, dry = options["file"], options["dry_run"]
        if options["install"] or options["remove"]:
            name = "install" if options["install"] else "remove"
            if dry:
                self.stdout.write(f"would {name} the log of changes ({LOG}, and triggers). Nothing was written.")
                return
            with self._run(f"sync --{name}", path):
                if options["install"]:
                    said = f"{install_change_log(path)} tables are watched."
                else:
                    remove_change_log(path)
                    said = "The log of changes is gone."
            self.stdout.write(said)
            return
        if dry:
            entries, seconds = sync_lag(path)
            self.stdout.write(f"{entries:,} changes wait, {seconds:,.1f} seconds behind. Nothing was written.")
            return
        with self._run("sync", path) as run:
            if options["all"]:
                with self._bar() as report:
                    done = sync_all_rows(path, run, on_progress=report)
                self.stdout.write(
                    f"{done.written:,} rows carried over, {done.rejected:,} rejected, {done.gone:,} gone."
                )
                run.details = {"written": done.written, "rejected": done.rejected, "gone": done.gone}
            elif options["follow"]:
                self._follow(path, run)
            else:
                total = sync_changes(path, run, on_progress=self._synced)
                run.rows_done = run.rows_total = total
                self.stdout.write(f"{total:,} changes carried over; nothing waits.")

    def _synced(self, done: SyncResult) -> None:
        if done.applied:
            self.stdout.write(
                f"{timezone.now():%H:%M:%S}  {done.entries:,} changes: {done.applied.written:,} rows written, "
                f"{done.applied.rejected:,} rejected, {done.applied.gone:,} gone; lag {done.lag:.2f} s"
            )

    def _follow(self, path: Path, run: MigrationRun) -> None:
        self.stdout.write("Following; Ctrl-C ends it.")
        saved = 0.0
        try:
            for done in follow_changes(path, run):
                self._synced(done)
                run.rows_done += done.entries
                if time.monotonic() - saved > 1:
                    saved = time.monotonic()
                    run.details = {"lag_seconds": round(done.lag, 2)}
                    run.save(update_fields=["rows_done", "details"])
        except KeyboardInterrupt:
            self.stdout.write("")
        except SyncError as error:  # the cut-over came
            self.stdout.write(str(error))

    # --- over and back ----------------------------------------------------------------------------------------------

    def _dual_write(self, options: dict[str, Any]) -> None:
        switch, dry = options["switch"], options["dry_run"]
        found = get_outbox_status()
        if switch == "status" or dry:
            self.stdout.write(
                f"dual-write is {'on' if found.on else 'off'}; {found.waiting:,} rows wait, for {found.seconds:,.0f} seconds"
            )
            if found.error:
                self.stdout.write(f"! {found.error}")
            return
        state = get_migration_state()
        with self._run(f"dual-write {switch}", state.path if state else Path()):
            if switch == "send":
                total = 0
                while sent := send_outbox():
                    total += sent
                self.stdout.write(f"{total:,} notes written to the legacy file")
            elif switch == "on":
                enable_dual_write()
                self.stdout.write("From now on what Kamioi writes goes to the legacy file too.")
            else:
                disable_dual_write()
                self.stdout.write(f"Nothing new goes to the legacy file; {found.waiting:,} rows wait still.")

    def _cutover(self, options: dict[str, Any]) -> None:
        percent = options["percent"]
        if options["dry_run"]:
            obstacles = cutover_obstacles(percent)
            self.stdout.write("\n".join(f"! {line}" for line in obstacles) or "Nothing stands in the way.")
            if obstacles:
                sys.exit(1)
            return
        state = get_migration_state()
        with self._run("cutover", state.path if state else Path()) as run:
            said = cutover(run, percent=percent)
            run.details = {"percent": percent}
        self.stdout.write(said)
        if percent == 100:
            call_command("calculate_analytics", stdout=self.stdout)

    def _rollback(self, options: dict[str, Any]) -> None:
        self._end("rollback", "The legacy file becomes the truth again", options, rollback)

    def _finish(self, options: dict[str, Any]) -> None:
        self._end("finish", "There is no way back to the legacy system after this", options, finish)

    def _end(self, name: str, effect: str, options: dict[str, Any], do: Callable[[], str]) -> None:
        found = get_outbox_status()
        self.stdout.write(f"{effect}. {found.waiting:,} rows wait to be written to the legacy file first.")
        if options["dry_run"]:
            return
        if not options["yes"] and input(f"Type '{name}' to go on: ").strip() != name:
            raise CommandError("Nothing was changed.")
        state = get_migration_state()
        with self._run(name, state.path if state else Path()):
            said = do()
        self.stdout.write(said)

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
