"""Which AppArmor profile containers get, and the default one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from knarr.engine import apparmor_profile
from knarr.engine.config import HostConfig
from knarr.engine.security import SecurityOptions
from knarr.errors import KnarrError
from knarr.kernel import apparmor


@pytest.fixture
def parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with AppArmor whose parser keeps what it is given: the file."""
    program = tmp_path / "apparmor_parser"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat >>{tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(apparmor_profile, "supported", lambda: True)
    monkeypatch.setattr(apparmor, "profiles", lambda: {"other"})
    monkeypatch.setattr(apparmor, "own_profile", lambda: "unconfined")
    return tmp_path / "asked"


@pytest.mark.parametrize(
    ("privileged", "asked", "name"),
    [
        (False, "", "docker-default"),
        (True, "", "unconfined"),
        (False, "unconfined", "unconfined"),
        (True, "mine", "mine"),
    ],
)
def test_the_profile_of_a_container(parser: Path, privileged: bool, asked: str, name: str) -> None:
    assert apparmor_profile.of(HostConfig(privileged=privileged), SecurityOptions(apparmor=asked)) == name


def test_without_apparmor_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor_profile, "supported", lambda: False)
    assert apparmor_profile.of(HostConfig(), SecurityOptions(apparmor="mine")) == ""


def test_the_default_is_loaded_where_it_is_not_there(parser: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in (None, "", "mine", "unconfined"):
        apparmor_profile.ensure(other)
    assert not parser.exists()
    apparmor_profile.ensure("docker-default")
    flags, text = parser.read_text().split("\n", 1)
    assert (flags, text) == ("-Kr", apparmor_profile.text("unconfined"))
    parser.unlink()
    monkeypatch.setattr(apparmor, "profiles", lambda: {"docker-default"})
    apparmor_profile.ensure("docker-default")
    assert not parser.exists()


def test_a_parser_that_fails(parser: Path) -> None:
    parser.with_name("apparmor_parser").write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    with pytest.raises(KnarrError, match=r"the docker-default profile could not be loaded: running .* broken"):
        apparmor_profile.ensure("docker-default")


@pytest.mark.skipif(shutil.which("apparmor_parser", path="/usr/sbin:/sbin") is None, reason="there is no parser")
def test_the_default_is_in_the_parsers_language() -> None:
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    text = apparmor_profile.text("/opt/an engine/knarrd")
    done = subprocess.run([parser, "-QK"], input=text, capture_output=True, text=True)  # type: ignore[list-item]
    assert done.returncode == 0, done.stderr
