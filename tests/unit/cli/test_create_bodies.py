"""What `run` and `create` send, and say, compared with what docker 28.2.2 sent and said for the same command lines.

data/docker_create.jsonl was recorded with an engine that answered every creation with an error; "body" has only what
differs from data/docker_create_default.json, and of an endpoint only what is not empty.
"""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_engine import Request, StubEngine, answer

from knarr.cli.main import main

_DATA = Path(__file__).parent / "data"
_CASES = [json.loads(line) for line in (_DATA / "docker_create.jsonl").read_text().splitlines()]
_DEFAULT = json.loads((_DATA / "docker_create_default.json").read_text())
_FILES = {
    "env.txt": "A=1\n# c\nB=two words\n\nHOMEVAR\n  LEAD=x \n",
    "labels.txt": "l1=v1\nl2\n",
    "prof.json": '{"defaultAction":"SCMP_ACT_ALLOW"}',
    "bad.txt": "BAD KEY=1\n",
}


def _refuse(request: Request, connection: socket.socket) -> None:
    connection.sendall(answer(500, b'{"message":"recorded"}'))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubEngine]:
    with StubEngine(tmp_path_factory.mktemp("engine"), _refuse) as stub:
        yield stub


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in _FILES.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": "/root", "HOMEVAR": "home", "DOCKER_CONFIG": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UNSETVAR", raising=False)
    return tmp_path


@pytest.mark.parametrize("case", _CASES, ids=[case["command"] for case in _CASES])
def test_as_docker(
    case: dict[str, Any], engine: StubEngine, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.requests.clear()
    status = main(["-H", engine.host, *shlex.split(case["command"])])
    errors = capsys.readouterr().err.replace("knarr", "docker")
    assert (status, errors) == (case.get("status", 1), case.get("stderr", "Error response from daemon: recorded\n"))
    sent = [request for request in engine.requests if "/containers/create" in request.target]
    assert [_differences(request, str(directory)) for request in sent] == ([case["body"]] if "body" in case else [])
    assert [request.target.partition("?")[2] for request in sent] == ([case.get("query", "")] if sent else [])


def _differences(request: Request, directory: str) -> dict[str, Any]:
    body = json.loads(request.body.replace(directory.encode(), b"$PWD"))
    assert body.keys() >= _DEFAULT.keys()
    changed = _changed(body, _DEFAULT)
    if "HostConfig" in changed:
        changed["HostConfig"] = _changed(body["HostConfig"], _DEFAULT["HostConfig"])
    if "NetworkingConfig" in changed:
        endpoints = body["NetworkingConfig"]["EndpointsConfig"]
        empty = _DEFAULT["NetworkingConfig"]["EndpointsConfig"]["default"]
        changed["NetworkingConfig"] = {name: _changed(endpoint, empty) for name, endpoint in endpoints.items()}
    return changed


def _changed(found: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in default or value != default[name]}
