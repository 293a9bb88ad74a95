"""Passwords as the legacy system stored them, made to work in Kamioi.

In `PASSWORD_HASHERS` these stand behind the preferred hasher, so Django replaces what they know at the next log-in.
`encode_legacy` is what the migration stores: never the plain text, never an unsalted hash.
"""

import base64
import hashlib
import re
import secrets
from typing import Any

from django.contrib.auth.hashers import (
    UNUSABLE_PASSWORD_PREFIX,
    BasePasswordHasher,
    ScryptPasswordHasher,
    identify_hasher,
    make_password,
)
from django.utils.crypto import constant_time_compare

from transactions.legacy.rules import HIDDEN

_SCRYPT = re.compile(r"scrypt:(\d+):(\d+):(\d+)\$([^$]+)\$([0-9a-f]+)")
_PBKDF2 = re.compile(r"pbkdf2:(sha1|sha256|sha512)(?::(\d+))?\$([^$]+)\$([0-9a-f]+)")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_MOST_MEMORY = 256 * 1024 * 1024
_WERKZEUG_ITERATIONS = 1_000_000


class WerkzeugPasswordHasher(BasePasswordHasher):
    """`werkzeug$` and then what werkzeug wrote: `scrypt:N:r:p$salt$hex` or `pbkdf2:sha256:iterations$salt$hex`."""

    algorithm = "werkzeug"

    def verify(self, password: str, encoded: str) -> bool:
        """Whether the password is the one that was hashed."""
        return constant_time_compare(self.encode(password, encoded.removeprefix("werkzeug$")), encoded)

    def encode(self, password: str, salt: str) -> str:
        """The hash of `password` with the method and the salt of a werkzeug hash, given whole as `salt`."""
        if match := _SCRYPT.fullmatch(salt):
            n, r, p = (int(number) for number in match.groups()[:3])
            digest = hashlib.scrypt(
                password.encode(), salt=match[4].encode(), n=n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=len(match[5]) // 2
            )
            return f"werkzeug$scrypt:{n}:{r}:{p}${match[4]}${digest.hex()}"
        if match := _PBKDF2.fullmatch(salt):
            rounds = int(match[2] or _WERKZEUG_ITERATIONS)
            digest = hashlib.pbkdf2_hmac(match[1], password.encode(), match[3].encode(), rounds)
            count = f":{match[2]}" if match[2] else ""
            return f"werkzeug$pbkdf2:{match[1]}{count}${match[3]}${digest.hex()}"
        raise ValueError("not a hash of werkzeug")

    def decode(self, encoded: str) -> dict[str, Any]:
        """The parts of the hash."""
        _, method, salt, digest = encoded.split("$", 3)
        return {"algorithm": self.algorithm, "method": method, "salt": salt, "hash": digest}

    def safe_summary(self, encoded: str) -> Any:
        """What the admin shows of it."""
        parts = self.decode(encoded)
        return {
            "algorithm": f"werkzeug {parts['method']}",
            "salt": f"{parts['salt'][:2]}…",
            "hash": f"{parts['hash'][:6]}…",
        }

    def must_update(self, encoded: str) -> bool:
        """Always: Django's own hasher takes over at the next log-in."""
        return True

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Nothing: the work is set by the stored hash."""


class Sha256InScryptPasswordHasher(ScryptPasswordHasher):
    """Django's scrypt around an unsalted SHA-256 in hex, the way the legacy system kept administrators' passwords."""

    algorithm = "sha256_in_scrypt"

    def encode_digest(self, digest: str) -> str:
        """The strong hash of a SHA-256 that is all we have of a password."""
        return super().encode(digest.lower(), self.salt())

    def encode(self, password: str, salt: str, n: int | None = None, r: int | None = None, p: int | None = None) -> str:
        """The strong hash of the SHA-256 of a password."""
        return super().encode(hashlib.sha256(password.encode()).hexdigest(), salt, n, r, p)

    def must_update(self, encoded: str) -> bool:
        """Always: the inner hash goes at the next log-in."""
        return True


def encode_legacy(password: str | None) -> tuple[str, str | None]:
    """(what to store, kind of repair or None) for a legacy password, whatever it is. Never contains plain text."""
    kind: str | None = None
    if not password or password == HIDDEN:
        stored, kind = _unusable(), "password: none"
    elif _is_werkzeug(password):
        stored = f"werkzeug${password}"
    elif _SHA256.fullmatch(password):
        stored, kind = Sha256InScryptPasswordHasher().encode_digest(password), "password: SHA-256"
    elif _is_ours(password):
        stored = password  # a row that was rejected once and comes again
    elif password.startswith(("pbkdf2:", "scrypt:", "sha256$", "sha1$", "md5$", "$2a$", "$2b$", "$argon2")):
        stored, kind = _unusable(), "password: unknown"
    else:
        stored, kind = make_password(password), "password: plain text"
    return stored, kind


def legacy_password(encoded: str) -> str | None:
    """A stored hash as the legacy system reads it; None when it cannot, and then its own must stay as it is."""
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
    match = _SCRYPT.fullmatch(password)
    if match:
        n, r, p = (int(number) for number in match.groups()[:3])
        # hashlib refuses others; such a hash could never be verified.
        return n > 1 and n & (n - 1) == 0 and 0 < p <= 64 and 128 * n * r * max(p, 1) < _MOST_MEMORY
    return bool(_PBKDF2.fullmatch(password))


def _is_ours(password: str) -> bool:
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
