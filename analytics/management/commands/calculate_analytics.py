"""`manage.py calculate_analytics [--rebuild | --verify] [--month 2026-11]`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from analytics.services.rollups import (
    ProgressCallback,
    RollupRefreshResult,
    rebuild_rollups,
    refresh_rollups,
    verify_rollups,
)
from kamioi_site.errors import KamioiError


def _month(text: str) -> date:
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()


class Command(BaseCommand):
    """Bring the figures of analytics up to date, count them anew, or check them."""

    help = (
        "Bring the figures of analytics and llm_analytics_summary up to date, at the cost of what changed since the last time. "
        "--rebuild counts them anew from the rows, --verify compares them with the rows and exits 1 when they differ."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do, and for which months."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--rebuild", action="store_true", help="count every figure anew from the rows")
        what.add_argument("--verify", action="store_true", help="compare with the rows; changes nothing")
        parser.add_argument(
            "--month",
            type=_month,
            action="append",
            metavar="YYYY-MM",
            help="with --rebuild or --verify: only this month; may be given several times",
        )
        parser.add_argument(
            "--recheck",
            type=int,
            default=0,
            metavar="N",
            help="also count anew the N partitions of each table that were not looked at for longest",
        )
        parser.add_argument("--show", type=int, default=50, help="how many differences to print (default 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done."""
        if options["month"] and not (options["rebuild"] or options["verify"]):
            raise CommandError("--month goes with --rebuild or --verify; a refresh finds out itself what changed.")
        try:
            with self._bar() as report:
                if options["verify"]:
                    self._verify(options, report)
                    return
                if options["rebuild"]:
                    done = rebuild_rollups(months=options["month"], on_progress=report)
                else:
                    done = refresh_rollups(recheck=options["recheck"], on_progress=report)
        except KamioiError as error:
            raise CommandError(str(error)) from error
        self._say(done)

    def _say(self, done: RollupRefreshResult) -> None:
        if done.recounted:
            shown = ", ".join(done.recounted[:12]) + (
                f" and {len(done.recounted) - 12} more" if len(done.recounted) > 12 else ""
            )
            self.stdout.write(f"counted anew: {shown}; {done.corrected:,} figures changed")
        self.stdout.write(f"{done.deltas:,} changes taken up; the figures are up to date ({done.seconds:.1f} s).")

    def _verify(self, options: dict[str, Any], on_progress: ProgressCallback) -> None:
        started, problems = time.monotonic(), 0
        for difference in verify_rollups(months=options["month"], on_progress=on_progress):
            problems += 1
            if problems <= options["show"]:
                self.stdout.write(str(difference))
        seconds = time.monotonic() - started
        if problems:
            raise CommandError(
                f"the figures are wrong: {problems:,} differences ({seconds:.1f} s). A refresh recounts what it notices; "
                "--rebuild counts everything."
            )
        self.stdout.write(f"The figures are right: they are what the rows say ({seconds:.1f} s).")

    @contextmanager
    def _bar(self) -> Iterator[ProgressCallback]:
        """A progress bar for each step; none where nobody looks."""
        bars: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            bar = bars.get(what)
            if bar is None:
                for other in bars.values():
                    other.close()
                bars[what] = bar = tqdm(total=total, desc=what, disable=None)
            bar.total = total
            bar.update(done - bar.n)

        try:
            yield report
        finally:
            for bar in bars.values():
                bar.close()
