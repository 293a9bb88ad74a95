"""`manage.py metrics [PREFIX]`: print the metrics that Prometheus would read."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from kamioi_site.observability import metrics


class Command(BaseCommand):
    """Print metrics whose names start with a prefix."""

    help = (
        "Print the metrics of this installation, as Prometheus reads them: all, or those whose names start with PREFIX."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the prefix."""
        parser.add_argument("prefix", nargs="?", default="", help="for example kamioi_queue")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one sample per line, without buckets."""
        run_directory = settings.KAMIOI_HOME / "metrics"
        # Without a directory of our own, use that of this home's `make run`.
        use_run = "PROMETHEUS_MULTIPROC_DIR" not in os.environ and run_directory.is_dir()
        directory = run_directory if use_run else None
        printed = False
        for family in metrics.registry(directory=directory).collect():
            for sample in family.samples:
                if sample.name.startswith(options["prefix"]) and not sample.name.endswith(("_bucket", "_created")):
                    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                    self.stdout.write(
                        f"{sample.name}{{{labels}}} {sample.value:g}" if labels else f"{sample.name} {sample.value:g}"
                    )
                    printed = True
        if not printed:
            self.stdout.write(f"No metric starts with {options['prefix']!r} yet.")
