"""`manage.py metrics [PREFIX]`: what Prometheus would read, here and now, for people at a terminal."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from kamioi_site.observability import metrics


class Command(BaseCommand):
    """Print metrics whose names begin with a prefix."""

    help = (
        "Print the metrics of this installation, as Prometheus reads them: all, or those whose names begin with PREFIX."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which ones."""
        parser.add_argument("prefix", nargs="?", default="", help="for example kamioi_queue")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print them, one sample a line, buckets left out."""
        run = settings.KAMIOI_HOME / "metrics"
        # Without a directory of our own: that of the `make run` of this home.
        directory = run if "PROMETHEUS_MULTIPROC_DIR" not in os.environ and run.is_dir() else None
        found = False
        for family in metrics.registry(directory=directory).collect():
            for sample in family.samples:
                if sample.name.startswith(options["prefix"]) and not sample.name.endswith(("_bucket", "_created")):
                    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                    self.stdout.write(
                        f"{sample.name}{{{labels}}} {sample.value:g}" if labels else f"{sample.name} {sample.value:g}"
                    )
                    found = True
        if not found:
            self.stdout.write(f"Nothing counted yet under {options['prefix']}.")
