"""Load balancing through the docker command: what a network's option makes of an alias and a published port."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

import pytest
from rootful import LIMITS

Docker = Callable[..., str]


@pytest.fixture
def front(docker: Docker) -> Iterator[str]:
    name = f"n-{uuid.uuid4().hex[:8]}"
    docker("network", "create", "-o", "knarr.loadbalance=web", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture
def run(docker: Docker, front: str) -> Iterator[Callable[..., str]]:
    """Runs one more container behind the alias; its name."""
    made = []

    def run(*options: str) -> str:
        made.append(f"t-{uuid.uuid4().hex[:8]}")
        docker("run", "-d", "--name", made[-1], "--network", front, "--network-alias", "web", *options, "busybox",
               "sleep", "1000")  # fmt: skip
        return made[-1]

    yield run
    docker("rm", "-f", *made)


def ready(docker: Docker, front: str) -> dict[str, bool]:
    tasks = json.loads(docker("network", "inspect", "-f", "{{json .Services}}", front))["web"]["Tasks"]
    return {task["Name"]: task["Info"]["Ready"] == "true" for task in tasks}


def test_an_alias_has_one_address_and_its_tasks_all(docker: Docker, front: str, run: Callable[..., str]) -> None:
    one, _ = run(), run()
    address = json.loads(docker("network", "inspect", "-f", "{{json .Services}}", front))["web"]["VIP"]
    assert docker("exec", one, "nslookup", "web", "127.0.0.11").count(address) == 1
    assert docker("exec", one, "nslookup", "tasks.web", "127.0.0.11").count("Name:") == 2


def test_several_publish_the_same_port(docker: Docker, run: Callable[..., str]) -> None:
    one = run("-p", "127.0.0.1::80")
    port = docker("port", one, "80").rpartition(":")[2]
    docker("rm", "-f", one)
    two, three = run("-p", f"127.0.0.1:{port}:80"), run("-p", f"127.0.0.1:{port}:80")
    assert docker("port", two) == docker("port", three)


@LIMITS
def test_who_is_paused_or_not_healthy_has_no_share(docker: Docker, front: str, run: Callable[..., str]) -> None:
    well, paused = run(), run()
    unknown = run("--health-cmd", "false", "--health-interval", "1h")
    docker("pause", paused)
    assert ready(docker, front) == {well: True, paused: False, unknown: False}
    docker("unpause", paused)
    assert ready(docker, front)[paused]
