"""`manage.py load_demo`: a small living example; `make run` calls it."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm_center.services.demo import CUSTOMERS, load_demo
from transactions.models import User


class Command(BaseCommand):
    """Load the demo."""

    help = "Load a demo: an administrator, three customers with two months of purchases, companies and prices."

    def add_arguments(self, parser: CommandParser) -> None:
        """A guard for databases that hold real customers."""
        parser.add_argument("--force", action="store_true", help="load although there are other customers")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load it, and say where the login stands."""
        demo = [email for email, *_ in CUSTOMERS]
        if not options["force"] and User.objects.filter(is_staff=False).exclude(email__in=demo).exists():
            raise CommandError("this database has customers of its own; use --force to add the demo all the same")
        login = load_demo(say=self.stdout.write)
        call_command("calculate_analytics", stdout=self.stdout)
        self.stdout.write(f"log in as {login.email}; the password stands in {login.path}")
