"""Passwords between the legacy system and Kamioi."""

import hashlib

import pytest
from django.contrib.auth.hashers import make_password

from transactions.legacy.convert.passwords import legacy_password
from transactions.password_hashers import WerkzeugPasswordHasher


@pytest.mark.parametrize("hasher", ["scrypt", "pbkdf2_sha256"])
def test_a_kamioi_password_works_in_the_legacy_system(hasher):
    stored = legacy_password(make_password("the same one", hasher=hasher))
    assert stored is not None
    assert WerkzeugPasswordHasher().verify("the same one", f"werkzeug${stored}")
    assert not WerkzeugPasswordHasher().verify("another one", f"werkzeug${stored}")
    if hasher == "scrypt":  # what werkzeug itself computes
        _, n, r, p = stored.split("$")[0].split(":")
        salt, digest = stored.split("$")[1:]
        assert (
            hashlib.scrypt(b"the same one", salt=salt.encode(), n=int(n), r=int(r), p=int(p), maxmem=2**28).hex()
            == digest
        )
