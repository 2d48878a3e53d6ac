"""The same command on the same engine: what knarr prints is what docker prints."""

from __future__ import annotations

import re
import shlex
import subprocess
import uuid
from collections.abc import Iterator

import knarr_program
import pytest
from harness import Daemon

_MODELLED_ON = 28  # major version of the docker command whose words knarr has; Debian 12's has older ones
_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
_AGES = re.compile(rb"Less than a second|1 second|\d+ seconds|About a minute")


@pytest.fixture(scope="module", autouse=True)
def _docker_of_the_same_words() -> None:
    text = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", text)
    if found is None or int(found[1]) < _MODELLED_ON:
        pytest.skip(f"knarr has the words of docker {_MODELLED_ON}, here is {text.strip()}")


@pytest.fixture(scope="module")
def prefix(engine_host: Daemon) -> Iterator[str]:
    """Two containers, PREFIX-up and PREFIX-done, and the volume PREFIX-data."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    flags = ["-p", "127.0.0.1::80", "-p", "127.0.0.1::90/udp", "--label", "a.b=1", "--label", "c=2"]
    knarr_program.text(engine_host.host, "volume", "create", "--label", "x=y", f"{name}-data")
    knarr_program.text(engine_host.host, "run", "-d", "--name", f"{name}-up", *flags, "busybox", "sleep", "1000")
    script = "echo out; echo err >&2; exit 3"
    knarr_program.run(engine_host.host, "run", "--name", f"{name}-done", "busybox", "sh", "-c", script)
    yield name
    knarr_program.run(engine_host.host, "rm", "-fv", f"{name}-up", f"{name}-done")
    knarr_program.run(engine_host.host, "volume", "rm", f"{name}-data")


@pytest.mark.parametrize(
    "line",
    [
        "ps -a -f name=PREFIX",
        "ps -a -f name=PREFIX --no-trunc",
        "ps -aq -f name=PREFIX",
        "ps -a -s -f name=PREFIX",
        "ps -a -f name=PREFIX --format '{{.ID}}|{{.Names}}|{{.Ports}}|{{.Labels}}|{{.Networks}}|{{.State}}'",
        r"""ps -a -f name=PREFIX --format 'table {{.Names}}\t{{.Label "a.b"}}\t{{json .Image}}'""",
        "ps -a -f name=PREFIX-done --format json",
        "images busybox",
        "images --no-trunc --digests busybox",
        "images --format json busybox",
        "images --tree",
        "images --tree -a",
        "images --tree --digests",
        "images --tree nothing",
        "history busybox",
        "history --no-trunc -H=false busybox",
        "inspect PREFIX-up",
        "inspect PREFIX-up -f '{{.State.Status}}|{{.NetworkSettings.Ports}}|{{.Config.Labels}}|{{json .Config.Cmd}}'",
        """inspect PREFIX-up -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'""",
        "inspect PREFIX-done -f '{{.State.ExitCode}}{{if.State.Running}}up{{else}}down{{end}}'",
        "inspect PREFIX-done -f {{.Nope}}",
        "inspect PREFIX-data busybox host -f json",
        "inspect nothing",
        "logs PREFIX-done",
        "logs -n 1 PREFIX-done",
        "port PREFIX-up",
        "port PREFIX-up 80",
        "port PREFIX-up 81",
        "top PREFIX-up",
        "wait PREFIX-done",
        "volume ls -f name=PREFIX",
        "volume inspect PREFIX-data",
        "network ls",
        "network inspect bridge -f '{{.Name}} {{range .IPAM.Config}}{{.Subnet}}{{end}}'",
        "info -f '{{.Driver}}|{{.NCPU}}|{{json .SecurityOptions}}'",
        "version -f '{{.Server.Version}}|{{.Client.APIVersion}}'",
        "start PREFIX-nothing",
        "stop PREFIX-nothing",
        "rm PREFIX-nothing",
        "rm -f PREFIX-nothing",
        "rename PREFIX-nothing x",
        "kill PREFIX-done",
        "rmi PREFIX-nothing",
        "tag PREFIX-nothing a:b",
        "exec PREFIX-done ls",
        "import /nonexistent.tar",
        "load -i /nonexistent.tar",
        "history --platform linux/s390x busybox",
        "image inspect --platform linux/s390x busybox",
        "rmi --platform linux/s390x busybox",
        "system df",
        "system df -v",
        "system df --format json",
        "system prune",
        "system prune -a --volumes --filter label=x",
        "system prune -f --filter label=PREFIX-nothing",
        "system prune -f --volumes --filter until=1h",
        "update --restart no PREFIX-done",
        "update --memory 20m PREFIX-nothing",
        "update PREFIX-done",
        "update --restart :3 PREFIX-done",
        "container ls -a -f name=PREFIX",
        "diff PREFIX-done",
        "events --since 0 --until 1",
        "run --name PREFIX-up busybox true",
        "run -m 1 --rm busybox true",
    ],
)
def test_same(engine_host: Daemon, prefix: str, line: str) -> None:
    arguments = shlex.split(line.replace("PREFIX", prefix))
    docker = knarr_program.run(engine_host.host, *arguments, program="docker")
    knarr = knarr_program.run(engine_host.host, *arguments)
    assert _seen(knarr.stdout) == _seen(docker.stdout)
    assert _seen(knarr.stderr).replace(b"knarr", b"docker") == _seen(docker.stderr).replace(b"knarr", b"docker")
    assert knarr.returncode == docker.returncode


def _seen(output: bytes) -> bytes:
    """Without what changes from one second to the next, the columns that its width moves, and colours."""
    return re.sub(rb" {2,}", b"  ", _AGES.sub(b"a moment", _COLOURS.sub(b"", output)))
