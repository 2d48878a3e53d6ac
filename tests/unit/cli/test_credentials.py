"""Where the client keeps credentials."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from knarr.cli import credentials
from knarr.cli.credentials import Entry
from knarr.cli.errors import CommandError
from knarr.cli.session import Session

HELPER = """#!/bin/sh
read -r input
echo "$1 $input" >> "$(dirname "$0")/calls"
case "$1 $input" in
"get held") echo '{"ServerURL": "held", "Username": "ann", "Secret": "hush"}' ;;
"get token") echo '{"ServerURL": "token", "Username": "<token>", "Secret": "t0"}' ;;
"get broken") echo "no key"; exit 1 ;;
list*) echo '{"held": "ann"}' ;;
get*) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session({"DOCKER_CONFIG": str(tmp_path)})


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helper called `test`; the file that its calls are written to."""
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program.parent / "calls"


def body(session: Session, registry: str) -> dict[str, str]:
    entry = credentials.find(session.settings, registry)
    return entry.body(registry) if entry else {}


def test_kept_in_the_file(session: Session, tmp_path: Path) -> None:
    assert credentials.keep(session, "a.example", Entry("joe", "p:w")) == ""
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "auths": {"a.example": {"auth": base64.b64encode(b"joe:p:w").decode()}}
    }
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    assert body(session, "a.example") == {"username": "joe", "password": "p:w", "serveraddress": "a.example"}
    assert body(session, "b.example") == {}


def test_an_identity_token(session: Session) -> None:
    credentials.keep(session, "a.example", Entry("joe", "unused", "t0"))
    assert body(session, "a.example") == {"username": "joe", "identitytoken": "t0", "serveraddress": "a.example"}


def test_forgotten(session: Session, tmp_path: Path) -> None:
    session.change_settings(auths={"https://a.example/v2/": {"auth": "am9lOng="}}, detachKeys="ctrl-x")
    assert body(session, "a.example")["username"] == "joe"
    assert credentials.forget(session, "a.example")
    assert not credentials.forget(session, "a.example")
    assert json.loads((tmp_path / "config.json").read_text()) == {"detachKeys": "ctrl-x"}


def test_with_a_helper(session: Session, helper: Path, tmp_path: Path) -> None:
    session.change_settings(credsStore="test")
    assert body(session, "held") == {"username": "ann", "password": "hush", "serveraddress": "held"}
    assert body(session, "token") == {"identitytoken": "t0", "serveraddress": "token"}
    assert body(session, "other") == {}
    assert credentials.keep(session, "new", Entry("joe", "pw")) == "test"
    stored = {"ServerURL": "new", "Username": "joe", "Secret": "pw"}
    assert f"store {json.dumps(stored)}\n" in helper.read_text()
    assert json.loads((tmp_path / "config.json").read_text())["auths"] == {"new": {}}
    assert credentials.forget(session, "new")
    assert helper.read_text().endswith("erase new\n")


def test_a_helper_for_one_registry(session: Session, helper: Path) -> None:
    session.change_settings(credHelpers={"held": "test"}, auths={"a.example": {"auth": "am9lOng="}})
    assert body(session, "a.example")["username"] == "joe"
    sent = credentials.header_for_all(session.settings)
    assert sent is not None
    known: dict[str, Any] = json.loads(base64.urlsafe_b64decode(sent))
    assert {name: entry["username"] for name, entry in known.items()} == {"a.example": "joe", "held": "ann"}


def test_a_helper_that_fails(session: Session, helper: Path) -> None:
    session.change_settings(credsStore="test")
    with pytest.raises(CommandError, match=r"exit status 1, out: `no key`"):
        body(session, "broken")
    session.change_settings(credsStore="missing")
    with pytest.raises(CommandError, match="docker-credential-missing"):
        body(session, "held")


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("busybox", "https://index.docker.io/v1/"),
        ("team/app:1", "https://index.docker.io/v1/"),
        ("docker.io/team/app", "https://index.docker.io/v1/"),
        ("localhost/app", "localhost"),
        ("a.example:5000/team/app", "a.example:5000"),
    ],
)
def test_the_registry_of_an_image(name: str, registry: str) -> None:
    assert credentials.registry_of(name) == registry
