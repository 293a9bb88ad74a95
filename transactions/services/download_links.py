"""Signed links to a customer's files: for five minutes they work without a token, in a browser's plain download."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from django.core import signing

from transactions.errors import LinkExpiredError
from transactions.models import User

_SALT: Final = "transactions.services.download_links"
LINK_SECONDS: Final = 300


class Download(NamedTuple):
    """What a link opens: whose file, which one, and its filter."""

    user: User
    name: str
    query: Mapping[str, str]


def sign_download(download: Download) -> str:
    """Return the signed part of a link. It ends early with the customer's sessions, as when the password changes."""
    user, name, query = download
    return signing.dumps([user.pk, user.session_generation, name, dict(query)], salt=_SALT)


def open_download(signed: str) -> Download:
    """Return what a link opens. Raises LinkExpiredError when it is forged, older, or the account is closed."""
    try:
        user_id, generation, name, query = signing.loads(signed, salt=_SALT, max_age=LINK_SECONDS)
    except signing.BadSignature as error:
        raise LinkExpiredError from error
    user = User.objects.filter(pk=user_id, session_generation=generation, is_active=True).first()
    if user is None:
        raise LinkExpiredError
    return Download(user, name, query)
