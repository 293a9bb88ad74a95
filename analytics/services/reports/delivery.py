"""The e-mail and the notification about a report: a link, never the amounts."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.urls import reverse
from django.utils import timezone

from analytics.models import Report
from analytics.selectors.periods import month_name
from transactions.models import Notification, User

logger = logging.getLogger(__name__)


@contextmanager
def mail_connection() -> Iterator[Any]:
    """Open one connection to the mail server for many e-mails; without it, each e-mail tries to connect."""
    mail = get_connection()
    try:
        mail.open()
    except Exception:  # an unavailable mail server must not stop the reports
        logger.warning("the mail server is unavailable", exc_info=True)
    try:
        yield mail
    finally:
        with suppress(Exception):
            mail.close()


def announce_reports(reports: Iterable[Report], *, to: User | None, mail: Any = None) -> None:
    """Notify the user that the files are ready; an e-mail that cannot be sent is logged."""
    reports = [report for report in reports if report.mailed_at is None]
    if not reports or to is None or not to.is_active:
        return
    first = reports[0]
    is_own = first.user_id == to.pk
    subject = "Your statement" if is_own else f"The report “{first.get_kind_display()}”"
    title = f"{subject} for {month_name(first.period)}"
    if is_own:
        Notification.objects.create(
            user=to, title=f"{subject} is ready", message=f"{title} is ready to download.", type="statement"
        )
    link = settings.STATEMENTS_URL if is_own else settings.SITE_URL + reverse("admin:analytics_report_changelist")
    greeting = f"Hello {to.name}," if to.name else "Hello,"
    message = EmailMessage(
        subject=f"{title} is ready",
        body=f"{greeting}\n\n{title} is ready as PDF and CSV:\n\n{link}\n\nYou will be asked to log in.\n\nKamioi\n",
        to=[to.email],
        connection=mail,
    )
    try:
        message.send()
    except Exception:  # the report is available without the e-mail
        logger.exception("the e-mail about report %s failed", first.pk)
        return
    Report.objects.filter(pk__in=[report.pk for report in reports]).update(mailed_at=timezone.now())
