"""Plain records mean the same as msgspec's: both read and write every document here."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from knarr.compute.spec import RuntimeSpec
from knarr.runtime.containers import Container

LIMITS = {"memory": {"limit": -1, "kernelTCP": 5, "swappiness": None}, "unified": {"a.b": "c"}}
DOCUMENTS: list[tuple[str, Any]] = [
    ("RuntimeSpec", {}),
    ("RuntimeSpec", {"ociVersion": "1.1.0", "unknown": [1, {}], "annotations": {"ü\n": "\u2028"}, "hostname": None}),
    ("RuntimeSpec", {"process": {"args": ["a"], "user": {"uid": 1, "additionalGids": [2, 3]}, "ioPriority": None}}),
    ("RuntimeSpec", {"linux": {"resources": LIMITS, "devices": [{"type": "c", "path": "/x", "fileMode": 438}]}}),
    ("RuntimeSpec", {"mounts": [{"destination": "/d", "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}]}]}),
    ("RuntimeSpec", {"process": {"user": {"uid": "0"}}}),
    ("RuntimeSpec", {"process": {"user": {"uid": 1.0}}}),
    ("RuntimeSpec", {"process": {"user": {"uid": 1.5}}}),
    ("RuntimeSpec", {"process": {"terminal": 1}}),
    ("RuntimeSpec", {"process": {"oomScoreAdj": "x"}}),
    ("RuntimeSpec", {"process": {"oomScoreAdj": True}}),
    ("RuntimeSpec", {"process": []}),
    ("RuntimeSpec", {"process": {"args": "ls"}}),
    ("RuntimeSpec", {"process": {"args": [1]}}),
    ("RuntimeSpec", {"process": {"capabilities": {"bounding": None}}}),
    ("RuntimeSpec", {"root": {}}),
    ("RuntimeSpec", {"mounts": [{"destination": "/"}, {"type": "x"}]}),
    ("RuntimeSpec", {"annotations": {"a": 1}}),
    ("RuntimeSpec", []),
    ("RuntimeSpec", None),
    (
        "Container",
        {
            "id": "x",
            "bundle": "/b",
            "rootfs": "/b/r",
            "created": 5,
            "cgroup": {
                "mode": "v1",
                "controllers": {"cpu": "/c"},
                "unified": None,
                "path": "/p",
                "device_program": "YQ==",
            },
            "process": {"args": ["a"]},
            "defaults": {"seccomp": "AAE=", "stream_owner": [1, 2]},
            "poststop": [{"path": "/h", "args": ["h"], "env": [], "timeout": 3}],
        },
    ),
]
TYPES: dict[str, Any] = {"RuntimeSpec": RuntimeSpec, "Container": Container}
BROKEN = [b"", b" ", b"{", b"{}x", b"nope", b'{"a":}', b"\xff", b"[1,]", b"[NaN]"]

PLAIN = """
import sys
import knarr.plain
from knarr.light import MsgspecError, decode_json, encode_json
from knarr.compute.spec import RuntimeSpec
from knarr.runtime.containers import Container

for line in sys.stdin:
    name, document = line.split(" ", 1)
    try:
        made = decode_json(bytes.fromhex(document), type={"RuntimeSpec": RuntimeSpec, "Container": Container}[name])
        print(encode_json(made).decode())
    except MsgspecError as error:
        print(error)
assert "msgspec" not in sys.modules
"""


def plain(documents: list[tuple[str, bytes]]) -> list[str]:
    """What each of them is made into in a process with plain records, or what is wrong with it."""
    lines = "".join(f"{name} {document.hex()}\n" for name, document in documents)
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{PLAIN}"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def with_msgspec(kind: str, document: bytes) -> Any:
    """The same with msgspec; JSON as Python objects, as spaces do not matter."""
    try:
        return json.loads(msgspec.json.encode(msgspec.json.decode(document, type=TYPES[kind])))
    except msgspec.MsgspecError as error:
        return str(error)


def test_same_records_same_complaints() -> None:
    documents = [(kind, json.dumps(document).encode()) for kind, document in DOCUMENTS]
    for (kind, document), text in zip(documents, plain(documents), strict=True):
        found = json.loads(text) if text.startswith("{") else text
        assert found == with_msgspec(kind, document), document


def test_what_is_no_json_is_refused() -> None:
    for text in plain([("RuntimeSpec", document) for document in BROKEN]):
        assert text.startswith("JSON is malformed: ")
    for document in BROKEN:
        with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
            msgspec.json.decode(document, type=RuntimeSpec)
