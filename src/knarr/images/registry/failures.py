"""What registries answer when they say no, and what connections die of, in the words that Docker's users know."""

from __future__ import annotations

import socket
import ssl
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
import urllib3
from msgspec import Struct

from knarr.errors import Forbidden, KnarrError, NotFound, Unauthorized
from knarr.images.references import Reference

T = TypeVar("T", bound=BaseException)

UNAUTHORIZED, DENIED = "UNAUTHORIZED", "DENIED"
MANIFEST_UNKNOWN, NAME_UNKNOWN, BLOB_UNKNOWN = "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN"
_BY_STATUS = {401: UNAUTHORIZED, 403: DENIED, 429: "TOOMANYREQUESTS"}
_PLAIN_ANSWERS = {  # what OpenSSL calls an answer that is not TLS, over its releases
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
}
_MAX_SHOWN = 500


class Unreachable(KnarrError):
    """No answer came: the text says what was tried and why."""


class Refused(KnarrError):
    """The registry answered with an error. `status` is HTTP's, `code` the API's name for it or ""."""

    def __init__(self, text: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class _Error(Struct):
    code: str = ""
    message: str = ""


class _Errors(Struct):
    errors: list[_Error] = []
    details: str = ""  # what token servers say


def from_answer(method: str, url: str, status: int, body: bytes) -> Refused:
    """The error in an answer with a status of 400 or more."""
    try:
        content = msgspec.json.decode(body, type=_Errors)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        content = _Errors()
    if content.errors:
        told = [f"{error.code.lower().replace('_', ' ') or 'unknown'}: {error.message}" for error in content.errors]
        text = told[0] if len(told) == 1 else "errors:\n" + "\n".join(told) + "\n"
        return Refused(text, status=status, code=content.errors[0].code)
    code = _BY_STATUS.get(status, "")
    if content.details:
        return Refused(f"{code.lower() or 'unknown'}: {content.details}", status=status, code=code)
    shown = body[:_MAX_SHOWN].decode("utf-8", "replace").strip()
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    text = f"received unexpected HTTP status: {status} {reason}".rstrip()
    if code:
        text = f"{code.lower()}: {text}"
    return Refused(f"{text}: {shown}" if shown and not shown.startswith("<") else text, status=status, code=code)


def in_pull(error: Refused, reference: Reference) -> KnarrError:
    """What a pull says of it."""
    if error.code == DENIED or (error.code == UNAUTHORIZED and "no basic auth" not in str(error)):
        advice = "repository does not exist or may require 'docker login'"
        return NotFound(f"pull access denied for {reference.familiar_name}, {advice}: {error}")
    if error.code == MANIFEST_UNKNOWN or (error.status == 404 and not error.code):
        return NotFound(f"manifest for {reference.familiar} not found: {error}")
    if error.code == NAME_UNKNOWN:
        return NotFound(f"repository {reference.familiar_name} not found: {error}")
    return error


def by_kind(error: Refused) -> KnarrError:
    """The same as one of the kinds that the API tells apart."""
    if error.code in (MANIFEST_UNKNOWN, NAME_UNKNOWN, BLOB_UNKNOWN) or error.status == 404:
        return NotFound(str(error))
    if error.code == UNAUTHORIZED:
        return Unauthorized(str(error))
    return Forbidden(str(error)) if error.code == DENIED else error


def from_exception(method: str, url: str, error: BaseException) -> Unreachable:
    """Why there is no answer: what urllib3 raised."""
    return Unreachable(f'{method.title()} "{url}": {_reason(url, error)}')


def speaks_plainly(error: BaseException) -> bool:
    """Whether a TLS handshake failed because the other side does not speak TLS."""
    cause = _cause(error, ssl.SSLError)
    return cause is not None and cause.reason in _PLAIN_ANSWERS


def _reason(url: str, error: BaseException) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if speaks_plainly(error):
        return "http: server gave HTTP response to HTTPS client"
    if (untrusted := _cause(error, ssl.SSLCertVerificationError)) is not None:
        return f"tls: failed to verify certificate: x509: {_certificate_words(untrusted)}"
    if (handshake := _cause(error, ssl.SSLError)) is not None:
        return f"remote error: tls: {(handshake.reason or str(handshake)).lower().replace('_', ' ')}"
    if _cause(error, socket.gaierror) is not None:
        return f"dial tcp: lookup {parts.hostname}: no such host"
    if (refused := _cause(error, OSError)) is not None and refused.errno and refused.strerror:
        step = "connect" if isinstance(error, urllib3.exceptions.NewConnectionError) else "read"
        return f"dial tcp {parts.hostname}:{port}: {step}: {refused.strerror.lower()}"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return f"read tcp {parts.hostname}:{port}: i/o timeout"
    if isinstance(error, (urllib3.exceptions.ConnectTimeoutError, TimeoutError)):
        return f"dial tcp {parts.hostname}:{port}: i/o timeout"
    if isinstance(error, urllib3.exceptions.ProxyError):
        return f"proxyconnect tcp: {error.args[-1]}"
    return "EOF" if isinstance(error, urllib3.exceptions.ProtocolError) else str(error)


def _certificate_words(error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case 10:
            return "certificate has expired or is not yet valid"
        case 62 | 64:
            return f"certificate is not valid for this name: {error.verify_message}"
    return f"certificate signed by unknown authority ({error.verify_message})"


def _cause(error: BaseException | None, kind: type[T]) -> T | None:
    """The exception of a kind among an error, its arguments and its causes."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, kind):
            return error
        inner = next((one for one in (*error.args, getattr(error, "reason", None)) if isinstance(one, kind)), None)
        if inner is not None:
            return inner
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
