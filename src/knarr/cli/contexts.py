"""Contexts: named engines, kept where docker keeps them (contexts/ in the directory of its configuration)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil

from knarr.cli.errors import CommandError
from knarr.cli.flags import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.cli.flags import Options
    from knarr.cli.session import Session
    from knarr.client.address import Address

DEFAULT = "default"
_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+"
_TLS_FILES = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


def _settings(word: str) -> list[tuple[str, str]]:
    """`host=…,ca=…`"""
    pairs = [field.partition("=") for field in word.split(",")]
    for name, separator, _ in pairs:
        if not separator:
            raise ValueError(f"{name} must be formatted as key=value")
    return [(name, value) for name, _, value in pairs]


ENDPOINT_FLAG = words(
    "docker",
    "Where the engine is: host=ADDRESS, ca=, cert= and key= (files), skip-tls-verify=, or from=CONTEXT",
    metavar="stringToString",
    parse=_settings,
)


class Context:
    """A named engine. `description` is the user's; `tls` are the contents of its TLS files by their names."""

    def __init__(
        self,
        name: str,
        host: str,
        *,
        description: str = "",
        unverified: bool = False,
        tls: dict[str, bytes] | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.description = description
        self.unverified = unverified
        self.tls = tls or {}

    @property
    def document(self) -> dict[str, Any]:
        """As it is in meta.json."""
        endpoint = {"Host": self.host, "SkipTLSVerify": self.unverified}
        metadata = {"Description": self.description} if self.description else {}
        return {"Name": self.name, "Metadata": metadata, "Endpoints": {"docker": endpoint}}


def check_name(name: str) -> None:
    """Raises CommandError for a name that no new context may have."""
    if name == DEFAULT:
        raise CommandError(f'"{DEFAULT}" is a reserved context name')
    if not re.fullmatch(_NAME, name):
        raise CommandError(f'context name "{name}" is invalid, names are validated against regexp "^{_NAME}$"')


class Store:
    """All contexts of one user."""

    def __init__(self, directory: str) -> None:
        self._metadata = os.path.join(directory, "contexts", "meta")
        self._tls = os.path.join(directory, "contexts", "tls")

    def names(self) -> list[str]:
        try:
            keys = os.listdir(self._metadata)
        except FileNotFoundError:
            return []
        return sorted(_read(os.path.join(self._metadata, key, "meta.json"))["Name"] for key in keys)

    def has(self, name: str) -> bool:
        return os.path.exists(self.metadata_path(name))

    def get(self, name: str) -> Context:
        """Raises CommandError when there is none of this name."""
        path = os.path.join(self.metadata_path(name), "meta.json")
        try:
            found = _read(path)
        except FileNotFoundError:
            what = f'context "{name}": context not found'
            raise CommandError(f"{what}: open {path}: no such file or directory") from None
        endpoint = (found.get("Endpoints") or {}).get("docker") or {}
        return Context(
            name,
            endpoint.get("Host", ""),
            description=(found.get("Metadata") or {}).get("Description", ""),
            unverified=bool(endpoint.get("SkipTLSVerify")),
            tls=self._read_tls(name),
        )

    def put(self, context: Context) -> None:
        """Make it, or replace the one of its name."""
        self._write(os.path.join(self.metadata_path(context.name), "meta.json"), _encode(context.document))
        shutil.rmtree(self.tls_path(context.name), ignore_errors=True)
        for name, content in context.tls.items():
            self._write(os.path.join(self.tls_path(context.name), "docker", name), content)

    def remove(self, name: str) -> None:
        shutil.rmtree(self.metadata_path(name))
        shutil.rmtree(self.tls_path(name), ignore_errors=True)

    def metadata_path(self, name: str) -> str:
        return os.path.join(self._metadata, _key(name))

    def tls_path(self, name: str) -> str:
        return os.path.join(self._tls, _key(name))

    def address(self, name: str) -> Address:
        """Where its engine is. Raises CommandError, InvalidParameter."""
        from knarr.client import address

        context = self.get(name)
        tls = None
        if context.tls or context.unverified:
            tls = address.TLS.in_directory(os.path.join(self.tls_path(name), "docker"), verify=not context.unverified)
        return address.parse(context.host, tls)

    def _read_tls(self, name: str) -> dict[str, bytes]:
        directory = os.path.join(self.tls_path(name), "docker")
        found = {}
        for file in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            with open(os.path.join(directory, file), "rb") as content:
                found[file] = content.read()
        return found

    def _write(self, path: str, content: bytes) -> None:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        unfinished = f"{path}.tmp-{os.getpid()}"
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.replace(unfinished, path)


def default(session: Session) -> Context:
    """What there is without a context: the engine that the environment names."""
    from knarr.client import address

    found = address.from_environment(session.environ)
    return Context(DEFAULT, found.text, description="Current DOCKER_HOST based configuration")


def endpoint_settings(options: Options) -> dict[str, str]:
    """What --docker says."""
    return {name: value for given in options.words("docker") for name, value in given}


def set_endpoint(store: Store, context: Context, settings: dict[str, str]) -> None:
    """Give a context the engine that `host=…,ca=…` settings mean. Raises CommandError."""
    from knarr.client import address
    from knarr.errors import InvalidParameter

    for name in settings:
        if name not in ("from", "host", "skip-tls-verify", *_TLS_FILES):
            raise CommandError(f"unable to create docker endpoint config: unrecognized config key: {name}")
    if source := settings.get("from"):
        other = store.get(source)
        context.host, context.unverified, context.tls = other.host, other.unverified, other.tls
    context.host = settings.get("host", context.host)
    context.unverified = settings.get("skip-tls-verify", str(context.unverified)).lower() in ("1", "t", "true")
    for name, file in _TLS_FILES.items():
        if name in settings:
            with open(settings[name], "rb") as content:
                context.tls[file] = content.read()
    try:
        if "://" not in context.host:
            raise InvalidParameter(f"unable to parse docker host `{context.host}`")
        address.parse(context.host)
    except InvalidParameter as error:
        what = "unable to create docker endpoint config: unable to apply docker endpoint options"
        raise CommandError(f"{what}: {error}") from None


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
