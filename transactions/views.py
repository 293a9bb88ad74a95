"""The page behind the links in e-mails, for installations whose front end has none."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from transactions.errors import InvalidEmailLinkError
from transactions.services.email_addresses import read_email_token, use_email_token

_TITLES = {"verify": "Verify your e-mail address", "cancel": "Cancel the change of your e-mail address"}
_RESULTS = {"verify": "Your e-mail address is verified.", "cancel": "Your e-mail address stays the same."}


@never_cache
@require_http_methods(["GET", "POST"])
def email_link_view(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation, because mail scanners open links; use the token on POST."""
    token = request.GET.get("token", "")
    try:
        purpose, _, address = read_email_token(token)
        if request.method == "POST":
            use_email_token(token=token, purpose=purpose)
    except InvalidEmailLinkError as error:
        return _page(request, status=400, title="This link does not work", text=str(error))
    if request.method == "POST":
        return _page(request, title=_TITLES[purpose], text=_RESULTS[purpose])
    return _page(
        request, title=_TITLES[purpose], text=address, button="Verify" if purpose == "verify" else "Cancel change"
    )


def _page(request: HttpRequest, *, status: int = 200, **context: str) -> HttpResponse:
    return render(request, "kamioi/email_link.html", context, status=status)
