from __future__ import annotations

from typing import Any

import pytest

from knarr.cli.commands import ps

_CONTAINER: dict[str, Any] = {
    "Id": "f" * 64,
    "Names": ["/web", "/other/link"],
    "Image": "app:1@sha256:" + "a" * 64,
    "ImageID": "sha256:" + "b" * 64,
    "Command": "sh -c 'a rather long command'",
    "Created": 0,
    "Ports": [],
    "State": "running",
    "Status": "Up 2 minutes",
    "Labels": {"b": "2", "a": "1"},
    "Mounts": [{"Name": "v" * 20, "Driver": "local"}, {"Source": "/srv"}],
    "NetworkSettings": {"Networks": {"bridge": {}}},
}


def test_a_row_is_shortened() -> None:
    row = ps.row(_CONTAINER)  # type: ignore[arg-type]
    assert row["ID"] == "f" * 12
    assert (row["Names"], row["Image"]) == ("web", "app:1")
    assert row["Command"] == '"sh -c \'a rather lon…"'
    assert (row["Labels"], row["Mounts"], row["LocalVolumes"]) == ("a=1,b=2", "v" * 14 + "…,/srv", "1")


def test_a_row_in_full() -> None:
    row = ps.row(_CONTAINER, short=False)  # type: ignore[arg-type]
    assert (row["ID"], row["Names"]) == ("f" * 64, "web,other/link")
    assert row["Image"].endswith("a" * 64)


def _port(private: int, public: int = 0, ip: str = "", kind: str = "tcp") -> Any:
    bound = {"IP": ip, "PublicPort": public} if public else {}
    return {"PrivatePort": private, "Type": kind, **bound}


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([_port(80)], "80/tcp"),
        ([_port(80, 8080, "0.0.0.0"), _port(80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([_port(82), _port(80), _port(81)], "80-82/tcp"),
        ([_port(n, n, "0.0.0.0", "udp") for n in (9000, 9001)], "0.0.0.0:9000-9001->9000-9001/udp"),
        ([_port(80), _port(82)], "80/tcp, 82/tcp"),
    ],
)
def test_ports(ports: list[Any], text: str) -> None:
    assert ps.show_ports(ports) == text
