"""`manage.py load_demo`: load a small demo; `make run` calls it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from analytics.services.demo import CUSTOMERS, load_demo
from transactions.models import User


class Command(BaseCommand):
    help = "Load a demo: staff, customers with two months of purchases, proposals, decisions, reports and a data asset."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="load even if the database has other customers")

    def handle(self, *args: Any, **options: Any) -> None:
        demo = [email for email, *_ in CUSTOMERS]
        if not options["force"] and User.objects.filter(is_staff=False).exclude(email__in=demo).exists():
            raise CommandError("this database has other customers; use --force to add the demo anyway")
        login = load_demo(say=self.stdout.write)
        self.stdout.write(f"log in as {login.email}; the password is in {login.path}")
