"""The address of the model server."""

import pytest

from llm_center.providers import ProviderConfigError
from llm_center.providers.openai import check_base_url


@pytest.mark.parametrize(
    ("url", "allow_http", "is_good"),
    [
        ("https://api.openai.com/v1", False, True),
        ("https://api.deepseek.com", False, True),
        ("https://10.0.0.5:8443/v1", False, True),  # the operator's own server
        ("http://localhost:11434/v1", False, True),
        ("http://127.0.0.1:8000/v1", False, True),
        ("http://[::1]:8000/v1", False, True),
        ("http://ollama:11434/v1", False, False),
        ("http://ollama:11434/v1", True, True),
        ("http://localhost.evil.example/v1", False, False),
        ("http://127.0.0.1@evil.example/v1", True, False),
        ("https://user:secret@api.openai.com/v1", False, False),
        ("https://api.openai.com/v1?key=secret", False, False),
        ("https://api.openai.com/v1#x", False, False),
        ("http://169.254.169.254/latest", True, False),  # where clouds keep credentials
        ("https://[::ffff:169.254.169.254]/", True, False),
        ("http://2852039166/", True, False),
        ("http://0xA9FEA9FE/", True, False),
        ("http://169.254.43518/", True, False),
        ("http://0.0.0.0:8000/v1", True, False),
        ("https://[fe80::1%25eth0]/", True, False),
        ("file:///etc/passwd", True, False),
        ("ftp://example.com", True, False),
        ("//example.com", True, False),
        ("https://", True, False),
        ("https://[", True, False),
        ("https://example.com:99999/", True, False),
        (" https://example.com", True, False),
        ("", True, False),
    ],
)
def test_the_base_url_must_be_https_or_local(url: str, allow_http: bool, is_good: bool) -> None:
    if is_good:
        check_base_url(url, allow_http=allow_http)
    else:
        with pytest.raises(ProviderConfigError) as caught:
            check_base_url(url, allow_http=allow_http)
        assert "secret" not in str(caught.value)
