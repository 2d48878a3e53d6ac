"""Which proxy an address is reached through, by the rules of Go's net/http, which users' lists are written for."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from knarr.images.registry.settings import ProxySettings


def proxy_for(settings: ProxySettings, url: str) -> str:
    """The proxy's address, "" for none."""
    parts = urlsplit(url)
    proxy = settings.https if parts.scheme == "https" else settings.http
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not proxy or _is_loopback(host) or _excepted(settings.no_proxy, host.lower().rstrip("."), port):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _excepted(rules: str, host: str, port: int) -> bool:
    return any(_matches(rule.strip().lower(), host, port) for rule in rules.split(","))


def _matches(rule: str, host: str, port: int) -> bool:
    """A rule is `*`, a network, or a name or address with or without port; a name stands for its subdomains too."""
    if rule in ("", "*"):
        return rule == "*"
    address = _address(host)
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, wanted_port = _split_port(rule)
    if wanted_port not in ("", str(port)):
        return False
    if address is not None:
        return _address(name) == address
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(rule: str) -> tuple[str, str]:
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        return name, rest.removeprefix(":")
    if rule.count(":") == 1:
        name, _, port = rule.partition(":")
        return name, port
    return rule, ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
