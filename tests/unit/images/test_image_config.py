"""The image configuration: tolerant reading, faithful writing."""

from __future__ import annotations

import json

import pytest

from knarr.errors import InvalidParameter
from knarr.images import config
from knarr.images.config import ContainerDefaults, HistoryEntry, ImageConfig, RootFS

DIFF = "sha256:" + "a" * 64


def test_nulls_are_absent() -> None:
    text = b'{"config": {"Env": null, "Labels": null, "User": null, "Volumes": {"/v": null}}, "history": null}'
    defaults = config.parse(text).config
    assert (defaults.env, defaults.labels, defaults.user, defaults.volumes) == ([], {}, "", {"/v": {}})


def test_unknown_members_are_ignored_and_linux_is_the_default() -> None:
    assert config.parse(b'{"x": [1], "config": {"Hostname": "h"}}').os == "linux"


def test_programs_as_one_word() -> None:
    assert config.parse(b'{"config": {"Cmd": "sh", "Entrypoint": ["a"]}}').config.cmd == ["sh"]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"config": 1}', b'{"rootfs": {"diff_ids": ["x"]}}', b"[" * 100_000, b'"\xff"']
)
def test_nonsense_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidParameter, match="invalid image configuration"):
        config.parse(text)


def test_what_is_written_is_read_again() -> None:
    made = ImageConfig(
        architecture="amd64",
        os="linux",
        created="2024-01-02T03:04:05Z",
        config=ContainerDefaults(cmd=["sh"], exposed_ports={"80/tcp": {}}, on_build=["RUN x"]),
        rootfs=RootFS(diff_ids=[DIFF]),
        history=[HistoryEntry(created_by="x", empty_layer=True)],
    )
    assert config.parse(config.encode(made)) == made


def test_an_image_without_layers_still_has_the_required_members() -> None:
    document = json.loads(config.encode(ImageConfig(os="linux")))
    assert document["rootfs"] == {"type": "layers", "diff_ids": []}
    assert document["config"] == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01T00:00:01Z", 1), ("1970-01-01T01:00:01.5+01:00", 1.5), ("", -62135596800), ("soon", -62135596800)],
)
def test_times(text: str, seconds: float) -> None:
    assert config.timestamp(text) == seconds


def test_nanoseconds_are_read() -> None:
    assert config.timestamp("1970-01-01T00:00:01.123456789Z") == pytest.approx(1.123456, abs=1e-6)
