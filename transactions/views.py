"""The pages behind the links in e-mails, for customers without a front end."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from rest_framework.exceptions import Throttled

from kamioi_site.auth.login_throttling import confirm_password
from kamioi_site.errors import KamioiError
from transactions.errors import InvalidEmailLinkError, InvalidInvitationError, WrongPasswordError
from transactions.models import User
from transactions.services.email_addresses import read_email_token, use_email_token
from transactions.services.members import accept_invitation, read_invitation, refuse_invitation

_TITLES = {"verify": "Verify your e-mail address", "cancel": "Cancel the change of your e-mail address"}
_RESULTS = {"verify": "Your e-mail address is verified.", "cancel": "Your e-mail address stays the same."}
_BROKEN = "This link does not work"


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
        return _page(request, status=400, title=_BROKEN, text=str(error))
    if request.method == "POST":
        return _page(request, title=_TITLES[purpose], text=_RESULTS[purpose])
    return _page(
        request, title=_TITLES[purpose], text=address, button="Verify" if purpose == "verify" else "Cancel change"
    )


@never_cache
@require_http_methods(["GET", "POST"])
def invitation_view(request: HttpRequest) -> HttpResponse:
    """Show who invites and what they will see; accept with the password of the invited account, or decline."""
    token = request.GET.get("token", "")
    context: dict[str, Any] = {}
    status = 200
    try:
        member = read_invitation(token=token)
        if request.method == "POST" and request.POST.get("answer") == "refuse":
            member = refuse_invitation(token=token)
            return _page(request, title="Done", text=f"You are not a member of the account of {member.owner.email}.")
        customer = User.objects.with_email(member.email).filter(is_active=True, is_staff=False).first()
        context = {"member": member, "customer": customer}
        if request.method == "POST" and customer is not None:
            if not confirm_password(request, customer, request.POST.get("password", "")[:1024]):
                raise WrongPasswordError("The password is wrong.")
            shares = "shares_totals" in request.POST
            context["member"] = accept_invitation(token=token, user=customer, shares_totals=shares)
    except InvalidInvitationError as error:
        return _page(request, status=400, title=_BROKEN, text=str(error))
    except KamioiError as error:
        context["error"], status = str(error), error.status_code
    except Throttled:
        context["error"], status = "Too many attempts. Try again later.", 429
    return render(request, "kamioi/invitation.html", context, status=status)


def _page(request: HttpRequest, *, status: int = 200, **context: str) -> HttpResponse:
    return render(request, "kamioi/email_link.html", context, status=status)
