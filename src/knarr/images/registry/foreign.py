"""Addresses and numbers that others have written, in headers and documents: read, or refused clearly."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from knarr.images.registry.failures import Unreachable

_MOST_DIGITS = 18


def number(text: str) -> int | None:
    """What decimal digits say; None for anything else, and for what no size is."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def joined(base: str, target: str) -> str:
    """An address that is given relative to another. Raises Unreachable for what is none."""
    try:
        return checked(urljoin(base, target))
    except ValueError as error:
        raise _invalid(target, error) from error


def checked(url: str) -> str:
    """The same address. Raises Unreachable for what is none, or none of the web."""
    try:
        parts = urlsplit(url)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port  # the last two are looked at only now
    except ValueError as error:
        raise _invalid(url, error) from error
    if scheme not in ("http", "https"):
        raise Unreachable(f'"{url[:200]}": unsupported protocol scheme "{scheme}"')
    if not host:
        raise Unreachable(f'"{url[:200]}": no Host in request URL')
    return url


def _invalid(url: str, error: ValueError) -> Unreachable:
    return Unreachable(f'parse "{url[:200]}": {error}')
