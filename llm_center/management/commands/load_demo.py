"""`manage.py load_demo`, called by `make run`."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm_center.services.demo import CUSTOMERS, load_demo
from transactions.models import User


class Command(BaseCommand):
    help = "Load a demo: an administrator, three customers with two months of purchases, companies and prices."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="load even if there are other customers")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load it, and print where the login is stored."""
        demo = [email for email, *_ in CUSTOMERS]
        if not options["force"] and User.objects.filter(is_staff=False).exclude(email__in=demo).exists():
            raise CommandError("this database has other customers; use --force to add the demo anyway")
        login = load_demo(say=self.stdout.write)
        call_command("calculate_analytics", stdout=self.stdout)
        self.stdout.write(f"log in as {login.email}; the password is in {login.path}")
