"""Base images made of a distribution's own packages, with no registry: what runs for it is in the scripts here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from knarr.cli import archives
from knarr.cli.errors import CommandError
from knarr.client import containers, files
from knarr.client.decoders import STDOUT, Frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from knarr.client.synchronous import Client

_PIECE = 1 << 17
_DONE = "I: Done"
_INSIDE, _KEYRING = "/var/tmp", "keyring.gpg"
_NEWEST = {"debian": "stable", "ubuntu": "noble"}


def suite(distribution: str, tag: str) -> str:
    """The release that a tag names. Raises CommandError for a distribution that cannot be made."""
    if distribution not in _NEWEST:
        known = " and ".join(_NEWEST)
        raise CommandError(f"cannot bootstrap {distribution}: only {known} can be made from their packages")
    return _NEWEST[distribution] if tag in ("", "latest") else tag.removesuffix("-slim")


class Bootstrap:
    """One base image in the making: `archive` is its root file system.

    It is made in a container on the image host: the machine's tools are there, and nothing of the machine is changed.
    """

    def __init__(self, engine: Client, control: Client, arguments: list[str], *, keyring: str, quiet: bool) -> None:
        """`engine` has the container's output, `control` is for everything else.

        `keyring` is a file of keys that the repository's may be signed with; "" for the distribution's own.
        """
        self._control = control
        self._quiet = quiet
        self._last = ""
        keys = _archive_of(keyring) if keyring else None
        script = Path(__file__).with_name("debian.sh").read_text(encoding="utf-8")
        body = {
            "Image": "host",
            "Cmd": ["/bin/sh", "-c", script, "bootstrap", *arguments, f"{_INSIDE}/{_KEYRING}" if keyring else ""],
            "HostConfig": {"AutoRemove": True, "NetworkMode": "host"},
        }
        self._id = control.call(containers.create(body))["Id"]
        if keys is not None:
            control.call(files.write(self._id, _INSIDE, iter([keys])))
        self._channel = engine.hijack(containers.attach(self._id, stdout=True, stderr=True))
        control.call(containers.start(self._id))

    def archive(self) -> Iterator[bytes]:
        """The pieces of it. Raises CommandError at their end if it is not all."""
        frames = Frames()
        data = self._channel.early or self._channel.socket.recv(_PIECE)
        while data:
            for number, content in frames.feed(data):
                if number == STDOUT:
                    yield content
                else:
                    self._tell(content.decode("utf-8", "replace"))
            data = self._channel.socket.recv(_PIECE)
        if self._last != _DONE:
            raise CommandError(f"bootstrapping failed: {self._last or 'the container was killed'}")

    def _tell(self, text: str) -> None:
        """Show what goes on: on a terminal in one line, else warnings and errors only."""
        for line in filter(None, text.splitlines()):
            if line.startswith("E: ") or not self._last.startswith("E: "):
                self._last = line  # an error's first line says what it is
            if self._quiet:
                continue
            if sys.stderr.isatty():
                sys.stderr.write(f"\r\x1b[K{line[:78]}" + ("\n" if line == _DONE else ""))
            elif not line.startswith("I: ") or line.startswith(("I: Installing", "I: Checking", "I: Valid Release")):
                sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """End it, if it is not over."""
        from knarr.client.errors import EngineError

        self._channel.close()
        try:
            self._control.call(containers.remove(self._id, force=True))
        except EngineError:  # it has removed itself
            pass


def _archive_of(keyring: str) -> bytes:
    try:
        return b"".join(archives.pack(os.path.realpath(keyring), _KEYRING))
    except OSError as error:
        raise CommandError(f"cannot read {keyring}: {error.strerror}") from error
