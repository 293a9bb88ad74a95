"""Hashers for passwords as the legacy system stored them.

In `PASSWORD_HASHERS` they come after the preferred hasher, so Django upgrades these passwords at the next log-in. They
stay after the migration, until no user has such a password.
"""

import hashlib
import re
from typing import Any, Final

from django.contrib.auth.hashers import BasePasswordHasher, ScryptPasswordHasher
from django.utils.crypto import constant_time_compare

WERKZEUG_SCRYPT: Final = re.compile(r"scrypt:(\d+):(\d+):(\d+)\$([^$]+)\$([0-9a-f]+)")
WERKZEUG_PBKDF2: Final = re.compile(r"pbkdf2:(sha1|sha256|sha512)(?::(\d+))?\$([^$]+)\$([0-9a-f]+)")
SCRYPT_MAX_MEMORY: Final = 256 * 1024 * 1024
_WERKZEUG_ITERATIONS: Final = 1_000_000


class WerkzeugPasswordHasher(BasePasswordHasher):
    """Verify `werkzeug$` followed by `scrypt:N:r:p$salt$hex` or `pbkdf2:sha256:iterations$salt$hex`."""

    algorithm = "werkzeug"

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether the password matches the hash."""
        return constant_time_compare(self.encode(password, encoded.removeprefix("werkzeug$")), encoded)

    def encode(self, password: str, salt: str) -> str:
        """Hash `password` with the method and salt of a complete werkzeug hash, passed as `salt`."""
        if match := WERKZEUG_SCRYPT.fullmatch(salt):
            n, r, p = (int(number) for number in match.groups()[:3])
            digest = hashlib.scrypt(
                password.encode(),
                salt=match[4].encode(),
                n=n,
                r=r,
                p=p,
                maxmem=SCRYPT_MAX_MEMORY,
                dklen=len(match[5]) // 2,
            )
            return f"werkzeug$scrypt:{n}:{r}:{p}${match[4]}${digest.hex()}"
        if match := WERKZEUG_PBKDF2.fullmatch(salt):
            rounds = int(match[2] or _WERKZEUG_ITERATIONS)
            digest = hashlib.pbkdf2_hmac(match[1], password.encode(), match[3].encode(), rounds)
            count = f":{match[2]}" if match[2] else ""
            return f"werkzeug$pbkdf2:{match[1]}{count}${match[3]}${digest.hex()}"
        raise ValueError("not a werkzeug hash")

    def decode(self, encoded: str) -> dict[str, Any]:
        """Split the hash into its parts."""
        _, method, salt, digest = encoded.split("$", 3)
        return {"algorithm": self.algorithm, "method": method, "salt": salt, "hash": digest}

    def safe_summary(self, encoded: str) -> Any:
        """Return what the admin shows of the hash."""
        parts = self.decode(encoded)
        return {
            "algorithm": f"werkzeug {parts['method']}",
            "salt": f"{parts['salt'][:2]}…",
            "hash": f"{parts['hash'][:6]}…",
        }

    def must_update(self, encoded: str) -> bool:
        """Upgrade at every log-in."""
        return True

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Do nothing: the stored hash sets the work factor."""


class Sha256InScryptPasswordHasher(ScryptPasswordHasher):
    """Django's scrypt over an unsalted SHA-256 in hex, as the legacy system stored administrators' passwords."""

    algorithm = "sha256_in_scrypt"

    def encode_digest(self, digest: str) -> str:
        """Hash an existing SHA-256 digest; the password itself is unknown."""
        return super().encode(digest.lower(), self.salt())

    def encode(self, password: str, salt: str, n: int | None = None, r: int | None = None, p: int | None = None) -> str:
        """Hash the SHA-256 digest of a password."""
        return super().encode(hashlib.sha256(password.encode()).hexdigest(), salt, n, r, p)

    def must_update(self, encoded: str) -> bool:
        """Upgrade at every log-in."""
        return True
