"""Containers on a host with AppArmor: played, with another file of the programs' own in place of AppArmor's."""

from __future__ import annotations

import shutil

import pytest
from engine_bench import EngineBench, unframed

from knarr.compute.native import confinement
from knarr.compute.spec import Process
from knarr.engine import apparmor_profile
from knarr.engine.config import HostConfig
from knarr.errors import KnarrError
from knarr.kernel import apparmor

SCORES = {"docker-default": 100, "mine": 200, "unconfined": 300}
SCORE = ("cat", "/proc/self/oom_score_adj")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The profiles that this host's kernel has."""

    def told(process: Process) -> list[tuple[str, str]]:
        return [("oom_score_adj", str(SCORES[process.apparmor_profile or ""]))]

    loaded = {"docker-default", "mine"}
    monkeypatch.setattr(apparmor, "profiles", lambda: loaded)
    monkeypatch.setattr(apparmor, "own_profile", lambda: "unconfined")
    monkeypatch.setattr(apparmor_profile, "supported", lambda: True)
    monkeypatch.setattr(confinement, "for_program", told)
    monkeypatch.setattr(confinement, "for_init", lambda process: [])
    return loaded


@pytest.mark.parametrize(
    ("host", "profile"),
    [
        (HostConfig(), "docker-default"),
        (HostConfig(security_opt=["apparmor=mine"]), "mine"),
        (HostConfig(privileged=True), "unconfined"),
    ],
)
def test_the_program_and_execs_are_under_the_profile(
    bench: EngineBench, loaded: set[str], host: HostConfig, profile: str
) -> None:
    id = bench.up_ready("sh", "-c", "cat /proc/self/oom_score_adj; echo ready; sleep 1000", host=host)
    assert bench.inspect(id)["AppArmorProfile"] == profile
    assert unframed(bench.logs(id))[0].split() == [str(SCORES[profile]).encode(), b"ready"]
    output, _ = bench.exec(id, *SCORE)
    assert unframed(output)[0] == f"{SCORES[profile]}\n".encode()


def test_without_its_profile_nothing_starts(
    bench: EngineBench, loaded: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded.clear()
    monkeypatch.setattr(apparmor_profile, "parser", lambda: shutil.which("false"))
    with pytest.raises(KnarrError, match="AppArmor enabled on system but the docker-default profile"):
        bench.up("true")
