"""The keys that end an attachment: "ctrl-p,ctrl-q" as bytes."""

from __future__ import annotations

from knarr.errors import InvalidParameter

DEFAULT = bytes((16, 17))
_PUNCTUATION = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str | None) -> bytes:
    """Comma-separated keys, each a character or ctrl- and one of a-z @ [ \\ ] ^ _; nothing means the default.

    Raises InvalidParameter.
    """
    if not text:
        return DEFAULT
    return b"".join(_key(name, text) for name in text.split(","))


def _key(name: str, text: str) -> bytes:
    control = name.removeprefix("ctrl-") if name.startswith("ctrl-") else ""
    if len(control) == 1 and (control.islower() and control.isascii()):
        return bytes((ord(control) - ord("a") + 1,))
    if control in _PUNCTUATION:
        return bytes((_PUNCTUATION[control],))
    if len(name) == 1:
        return name.encode()
    raise InvalidParameter(f"invalid detach keys ({text}) provided: unknown character: '{name}'")
