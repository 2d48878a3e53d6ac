"""What a check has found."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "missing", "cannot tell"]


class Finding(NamedTuple):
    """One line of the answer.

    `detail` is what was seen, `effect` what it means for the user and `remedy` how to mend it, a command where there
    is one. An engine cannot run without what is `needed`.
    """

    name: str
    state: State
    detail: str = ""
    effect: str = ""
    remedy: str = ""
    needed: bool = False


def ok(name: str, detail: str = "", effect: str = "") -> Finding:
    """It is there."""
    return Finding(name, "ok", detail, effect)


def missing(name: str, detail: str, effect: str, remedy: str = "", *, needed: bool = False) -> Finding:
    """It is not there."""
    return Finding(name, "missing", detail, effect, remedy, needed)


def unknown(name: str, detail: str, remedy: str = "") -> Finding:
    """It could not be found out, by this user or at all."""
    return Finding(name, "cannot tell", detail, "", remedy)
