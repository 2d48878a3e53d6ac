"""Requests that the specification allows, made up by schemathesis: never a 5xx, never content that is not specified.

Half of them speak of objects that exist. `KNARR_API_EXAMPLES` is how many are made for each operation (default 25).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import busybox
import pytest
import requests
import schemathesis
from api_contract import Answer, Contract, Operation, ask
from harness import Daemon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_EXAMPLES = int(os.environ.get("KNARR_API_EXAMPLES", "25"))
_SWARM = ("swarm", "nodes", "services", "tasks", "secrets", "configs")
_UNENDING = ("/events", "/attach", "/attach/ws", "/stats", "/wait", "/logs", "/session", "/exec/{id}/start")
_LEFT_OUT = {
    Operation("POST", "/images/create"),  # would ask registries and web servers all over the world
    Operation("POST", "/images/{name}/push"),
    Operation("GET", "/images/search"),
    Operation("GET", "/distribution/{name}/json"),
    Operation("POST", "/auth"),
}
_SPECIFICATION = Path(os.environ.get("KNARR_API_SPEC", ""))
_OPERATIONS = [found.ok() for found in schemathesis.openapi.from_path(_SPECIFICATION).get_all_operations()]


@schemathesis.serializer("application/x-tar", "application/octet-stream")
def as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(_SPECIFICATION)


@pytest.mark.parametrize("operation", _OPERATIONS, ids=lambda operation: operation.label)
def test_answers_to_made_up_requests(operation: Any, daemon: Daemon, contract: Contract) -> None:
    known = Operation(operation.method.upper(), operation.path)
    if known in _LEFT_OUT:
        pytest.skip("leaves the machine")

    @settings(
        max_examples=_EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(), real=st.booleans())
    def probe(case: Any, real: bool) -> None:
        if real:
            _speak_of_real_things(case, daemon)
        answer = _send(case, daemon.socket_path, head_only=known.path.endswith(_UNENDING))
        assert not _wrong(known, answer, contract)

    probe()


def _speak_of_real_things(case: Any, daemon: Daemon) -> None:
    names = {"containers": "tried", "images": "busybox:latest", "volumes": "tried", "networks": "tried"}
    resource = case.operation.path.split("/")[1]
    for variable in ("id", "name"):
        if variable in (case.path_parameters or {}) and resource in names:
            case.path_parameters[variable] = names[resource]
    if case.operation.path == "/containers/create" and isinstance(case.body, dict):
        case.body["Image"] = "busybox:latest"
    if daemon.request("GET", "/images/busybox:latest/json")[0] == 404:
        daemon.docker("import", "-", "busybox:latest", input=busybox.archive())
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none"}}
    daemon.request("POST", "/containers/create?name=tried", body)
    daemon.request("POST", "/containers/tried/start")
    daemon.request("POST", "/volumes/create", {"Name": "tried"})
    daemon.request("POST", "/networks/create", {"Name": "tried"})


def _send(case: Any, socket: Path, *, head_only: bool) -> Answer:
    wanted = requests.Request(**case.as_transport_kwargs(base_url="http://localhost")).prepare()
    body = wanted.body.encode() if isinstance(wanted.body, str) else wanted.body
    return ask(
        socket, wanted.method, wanted.path_url, body, wanted.headers.get("Content-Type", ""), head_only=head_only
    )


def _wrong(operation: Operation, answer: Answer, contract: Contract) -> list[str]:
    resource = operation.path.split("/")[1]
    if answer.status == 501:
        return [] if b"not supported by this engine yet" in answer.body else [f"501: {answer.body!r}"]
    if answer.status == 503 and resource in _SWARM:
        return []
    if answer.status >= 500:
        return [f"{answer.status}: {answer.body!r}"]
    return contract.faults(operation, answer)
