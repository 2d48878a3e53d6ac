"""Which addresses are reached through a proxy."""

from __future__ import annotations

import pytest

from knarr.images.registry.proxies import proxy_for
from knarr.images.registry.settings import ProxySettings


@pytest.mark.parametrize(
    ("no_proxy", "url", "expected"),
    [
        ("", "https://a.example/v2/", "http://secure:3128"),
        ("", "http://a.example/v2/", "http://plain:80"),
        ("", "http://localhost:5000/v2/", ""),
        ("", "https://127.0.0.7/v2/", ""),
        ("*", "https://a.example/", ""),
        ("example", "https://a.example/", ""),
        (".example", "https://a.example/", ""),
        ("*.example", "https://a.example/", ""),
        ("a.exam", "https://a.example/", "http://secure:3128"),
        ("le", "https://a.example/", "http://secure:3128"),
        ("a.example:443", "https://a.example/", ""),
        ("a.example:80", "https://a.example/", "http://secure:3128"),
        ("x, 10.0.0.0/8", "https://10.2.3.4/", ""),
        ("10.0.0.0/99", "https://10.2.3.4/", "http://secure:3128"),
        ("10.2.3.4", "https://10.2.3.4:5000/", ""),
        ("[fd00::1]:443", "https://[fd00::1]/", ""),
    ],
)
def test_rules(no_proxy: str, url: str, expected: str) -> None:
    settings = ProxySettings(http="http://plain:80", https="secure:3128", no_proxy=no_proxy)
    assert proxy_for(settings, url) == expected


def test_the_environment_comes_second() -> None:
    environment = ProxySettings.from_environment({"http_proxy": "a", "HTTP_PROXY": "b", "no_proxy": "c"})
    assert ProxySettings(https="d").over(environment) == ProxySettings(http="b", https="d", no_proxy="c")
