"""Passwords of the legacy system as Kamioi stores them, and back: never plain text, never an unsalted hash."""

import base64
import re
import secrets

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX, identify_hasher, make_password

from transactions.legacy.convert.values import HIDDEN
from transactions.password_hashers import (
    SCRYPT_MAX_MEMORY,
    WERKZEUG_PBKDF2,
    WERKZEUG_SCRYPT,
    Sha256InScryptPasswordHasher,
)

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def encode_legacy(password: str | None) -> tuple[str, str | None]:
    """Return (encoded password, kind of repair or None) for any legacy password."""
    kind: str | None = None
    if not password or password == HIDDEN:
        stored, kind = _unusable(), "password: none"
    elif _is_werkzeug(password):
        stored = f"werkzeug${password}"
    elif _SHA256.fullmatch(password):
        stored, kind = Sha256InScryptPasswordHasher().encode_digest(password), "password: SHA-256"
    elif _is_django_hash(password):
        stored = password  # from a rejected row that is retried
    elif password.startswith(("pbkdf2:", "scrypt:", "sha256$", "sha1$", "md5$", "$2a$", "$2b$", "$argon2")):
        stored, kind = _unusable(), "password: unknown"
    else:
        stored, kind = make_password(password), "password: plain text"
    return stored, kind


def legacy_password(encoded: str) -> str | None:
    """Return a stored hash in the legacy system's format; None when it cannot read it and must keep its own."""
    if encoded.startswith("werkzeug$"):
        return encoded.removeprefix("werkzeug$")
    kind, _, rest = encoded.partition("$")
    parts = rest.split("$")
    if kind == "scrypt" and len(parts) == 5:
        n, salt, r, p, digest = parts
        return f"scrypt:{n}:{r}:{p}${salt}${base64.b64decode(digest).hex()}"
    if kind in ("pbkdf2_sha256", "pbkdf2_sha1") and len(parts) == 3:
        iterations, salt, digest = parts
        return f"pbkdf2:{kind.removeprefix('pbkdf2_')}:{iterations}${salt}${base64.b64decode(digest).hex()}"
    return None


def _is_werkzeug(password: str) -> bool:
    match = WERKZEUG_SCRYPT.fullmatch(password)
    if match:
        n, r, p = (int(number) for number in match.groups()[:3])
        # hashlib refuses others; such a hash could never be verified.
        return n > 1 and n & (n - 1) == 0 and 0 < p <= 64 and 128 * n * r * max(p, 1) < SCRYPT_MAX_MEMORY
    return bool(WERKZEUG_PBKDF2.fullmatch(password))


def _is_django_hash(password: str) -> bool:
    if password.startswith(UNUSABLE_PASSWORD_PREFIX) and len(password) == 41:
        return True
    if password.count("$") < 3:
        return False
    try:
        identify_hasher(password)
    except ValueError:
        return False
    return True


def _unusable() -> str:
    return UNUSABLE_PASSWORD_PREFIX + secrets.token_hex(20)
