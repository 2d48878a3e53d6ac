"""The log drivers that send output to a collector: syslog and journald. Their options, in dockerd's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from knarr.compute.interface import JournalSettings, SyslogSettings
from knarr.engine.container import Record
from knarr.engine.log_options import attributes, tag
from knarr.errors import InvalidParameter

_SHARED = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
OPTIONS = {
    "journald": _SHARED,
    "syslog": _SHARED
    | {
        *("syslog-address", "syslog-facility", "syslog-format"),
        *("syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"),
    },
}
DRIVERS = tuple(OPTIONS)

_PORT = 514
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("", "", "", ""),
    *(f"local{number}" for number in range(8)),
)
_DAEMON = "daemon"
_FIELD = re.compile(r"[^A-Z0-9_]")
_SHORT = 12


def check(driver: str, options: Mapping[str, str]) -> None:
    """Raises InvalidParameter for values that make no sense. A collector need not be there."""
    if driver == "syslog":
        _syslog(options, "")


def settings(record: Record) -> SyslogSettings | JournalSettings:
    """Where the output of a container goes. Raises InvalidParameter."""
    config = record.host_config.log_config
    options = config.config or {}
    text = tag(record, options.get("tag") or "{{.ID}}")
    return _syslog(options, text) if config.type == "syslog" else JournalSettings(fields=_fields(record, text))


def _syslog(options: Mapping[str, str], text: str) -> SyslogSettings:
    network, address, port = _address(options.get("syslog-address", ""))
    format = options.get("syslog-format", "")
    if format not in _FORMATS:
        raise InvalidParameter("Invalid syslog format")
    over_tls = network == "tcp+tls"
    return SyslogSettings(
        network=network,
        address=address,
        port=port,
        format=format,
        facility=_facility(options.get("syslog-facility") or _DAEMON),
        tag=text,
        tls_ca=_pem(options, "syslog-tls-ca-cert") if over_tls else "",
        tls_cert=_pem(options, "syslog-tls-cert") if over_tls else "",
        tls_key=_pem(options, "syslog-tls-key") if over_tls else "",
        tls_skip_verify=bool(options.get("syslog-tls-skip-verify")),  # dockerd looks no closer
    )


def _address(text: str) -> tuple[str, str, int]:
    """PROTOCOL://HOST[:PORT] or PROTOCOL://PATH: protocol, path or host, port. "" is the host's own syslog."""
    if not text:
        return "", "", 0
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise InvalidParameter(f'parse "{text}": {error}') from None
    if url.scheme in ("unix", "unixgram"):
        if not url.path:
            raise InvalidParameter(f"syslog-address should be in form proto://address, got {text}")
        return url.scheme, unquote(url.path), 0
    if url.scheme not in ("udp", "tcp", "tcp+tls"):
        raise InvalidParameter(f"syslog-address should be in form proto://address, got {text}")
    return url.scheme, url.hostname or "localhost", port or _PORT


def _facility(text: str) -> int:
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isascii() and text.isdecimal() and int(text) < len(_FACILITIES):
        return int(text)
    raise InvalidParameter("invalid syslog facility")


def _pem(options: Mapping[str, str], name: str) -> str:
    path = options.get(name, "")
    try:
        if path:
            open(path, "rb").close()
    except OSError as error:
        raise InvalidParameter(f"could not read {name}: open {path}: {(error.strerror or '').lower()}") from None
    return path


def _fields(record: Record, text: str) -> dict[str, str]:
    chosen = attributes(record, record.host_config.log_config.config or {})
    return {
        **{key: value for name, value in chosen.items() if (key := _field_name(name))},
        "CONTAINER_ID": record.id[:_SHORT],
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.name,
        "CONTAINER_TAG": text,
        "IMAGE_NAME": record.image_name,
        "SYSLOG_IDENTIFIER": text,
    }


def _field_name(name: str) -> str:
    """The journal takes capital letters, digits and underscores, and keeps a leading one for itself."""
    return _FIELD.sub("_", name.upper()).lstrip("_")
