"""knarr pull, push, login, logout, search."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import registries
from harness import Daemon
from knarr_program import KNARR
from registries import Proxy
from rootful import LOOPBACK

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with registries.with_passwords(tmp_path_factory.mktemp("guarded")) as proxy:
        yield proxy


@pytest.fixture
def knarr(engine_host: Daemon, tmp_path: Path) -> Run:
    """Runs knarr with a configuration directory of the test's own."""

    def run(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
        command = [str(KNARR), "-H", engine_host.host, *arguments]
        return subprocess.run(
            command, input=input, capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    return run


@LOOPBACK
def test_all_of_it(knarr: Run, guarded: Proxy, tmp_path: Path) -> None:
    name = f"{guarded.name}/k/box:1"
    knarr("tag", "busybox", name)
    assert "no basic auth credentials" in knarr("push", name).stderr
    refused = knarr("login", "-u", "joe", "--password-stdin", guarded.name, input="x\n")
    assert refused.returncode == 1 and "401" in refused.stderr
    done = knarr("login", "-u", "joe", "--password-stdin", guarded.name, input="s3cret\n")
    assert done.stdout == "Login Succeeded\n" and "stored unencrypted" in done.stderr
    assert "Authenticating with existing credentials" in knarr("login", guarded.name).stdout
    pushed = knarr("push", name).stdout
    assert pushed.splitlines()[0] == f"The push refers to repository [{guarded.name}/k/box]"
    knarr("rmi", name)
    pulled = knarr("pull", name).stdout.splitlines()
    assert pulled[0] == "1: Pulling from k/box" and pulled[-1] == name
    assert f"Digest: {pushed.split('digest: ')[1].split()[0]}" in pulled
    knarr("rmi", name)
    assert knarr("run", "--rm", "--network", "none", name, "echo", "hi").stdout == "hi\n"
    assert knarr("logout", guarded.name).stdout == f"Removing login credentials for {guarded.name}\n"
    assert knarr("logout", guarded.name).stdout == f"Not logged in to {guarded.name}\n"
    assert "auths" not in json.loads((tmp_path / "config.json").read_text())
    knarr("rmi", name)


@LOOPBACK
def test_manifests_are_shown_as_docker_does(knarr: Run, engine_host: Daemon, tmp_path: Path) -> None:
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": engine_host.host}
    with registries.running(tmp_path / "registry", tls=registries.certificate(tmp_path, "server")) as registry:
        name = f"{registry.name}/k/shown:1"
        knarr("tag", "busybox", name)
        assert knarr("push", name).returncode == 0
        for flags in (["--insecure"], ["--insecure", "-v"]):
            asked = ["manifest", "inspect", *flags, name]
            docker = subprocess.run(["docker", *asked], capture_output=True, env=environment, timeout=60, check=False)
            assert docker.returncode == 0, docker.stderr
            assert json.loads(knarr(*asked).stdout) == json.loads(docker.stdout)
        missing = knarr("manifest", "inspect", f"{registry.name}/k/shown:2")
        assert missing.returncode == 1 and "unknown" in missing.stderr
    knarr("rmi", name)


@LOOPBACK
def test_search(knarr: Run, guarded: Proxy) -> None:
    rows = [{"name": "a/one", "description": "x" * 60, "star_count": 7, "is_official": True}]
    body = json.dumps({"results": rows}).encode()
    guarded.routes["/v1/search"] = lambda handler, _: registries.answer(handler, 200, body)
    shown = knarr("search", f"{guarded.name}/a").stdout.splitlines()
    assert shown[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert shown[1].split() == ["a/one", "x" * 44 + "…", "7", "[OK]"]
    del guarded.routes["/v1/search"]
    assert "has no search" in knarr("search", f"{guarded.name}/a").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["push", "a@sha256:" + "0" * 64], "cannot push a digest reference"),
        (["push", "-a", "a:1"], "tag can't be used with --all-tags/-a"),
        (["push", "A"], "must be lowercase"),
        (["login", "--password-stdin"], "Must provide --username with --password-stdin"),
        (["login", "-u", "a"], "Cannot perform an interactive login from a non TTY device"),
    ],
)
def test_refusals(knarr: Run, arguments: list[str], words: str) -> None:
    done = knarr(*arguments)
    assert done.returncode == 1 and words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alpine:3.20"], "cannot bootstrap alpine: only debian and ubuntu can be made from their packages"),
        (["--keyring", "/nonexistent", "debian"], "cannot read /nonexistent: No such file or directory"),
    ],
)
def test_bases_that_cannot_be_made(knarr: Run, arguments: list[str], words: str) -> None:
    refused = knarr("image", "bootstrap", *arguments)
    assert (refused.returncode, refused.stderr.strip()) == (1, words)
    assert knarr("ps", "-aq", "--filter", "ancestor=host").stdout == ""
