"""What a container takes from its image."""

from __future__ import annotations

import pytest

from knarr.engine.config import ContainerConfig, HealthConfig
from knarr.engine.merging import merge
from knarr.errors import InvalidParameter
from knarr.images.config import ContainerDefaults, Healthcheck

IMAGE = ContainerDefaults(entrypoint=["/entry"], cmd=["default"])


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        (None, None, (["/entry"], ["default"])),
        (None, ["mine"], (["/entry"], ["mine"])),
        (["/own"], None, (["/own"], None)),
        (["/own"], ["mine"], (["/own"], ["mine"])),
        ([], None, ([], ["default"])),
        ([""], ["mine"], (None, ["mine"])),
    ],
)
def test_program(
    entrypoint: list[str] | None, cmd: list[str] | None, expected: tuple[list[str] | None, list[str] | None]
) -> None:
    merged = merge(ContainerConfig(entrypoint=entrypoint, cmd=cmd), IMAGE)
    assert (merged.entrypoint, merged.cmd) == expected


def test_nothing_to_run() -> None:
    with pytest.raises(InvalidParameter, match="no command specified"):
        merge(ContainerConfig(), ContainerDefaults())


def test_environment() -> None:
    asked = ContainerConfig(env=["A=mine", "GONE"])
    merged = merge(asked, ContainerDefaults(cmd=["x"], env=["A=image", "B=image", "GONE=x"]))
    assert merged.env == ["A=mine", "GONE", "B=image"]


def test_labels_ports_volumes() -> None:
    image = ContainerDefaults(
        cmd=["x"], labels={"a": "image", "b": "image"}, exposed_ports={"80": {}}, volumes={"/v": {}}
    )
    merged = merge(ContainerConfig(labels={"a": "mine"}, exposed_ports={"81/udp": {}}, volumes={"/w": {}}), image)
    assert merged.labels == {"a": "mine", "b": "image"}
    assert merged.exposed_ports == {"80/tcp": {}, "81/udp": {}}
    assert set(merged.volumes or {}) == {"/v", "/w"}


def test_the_image_is_not_changed() -> None:
    image = ContainerDefaults(cmd=["x"], labels={"a": "image"})
    merge(ContainerConfig(labels={"b": "mine"}), image)
    assert image.labels == {"a": "image"}


def test_health_check_is_filled_up() -> None:
    image = ContainerDefaults(cmd=["x"], healthcheck=Healthcheck(test=["CMD", "true"], interval=5, retries=2))
    merged = merge(ContainerConfig(healthcheck=HealthConfig(retries=9)), image)
    assert merged.healthcheck == HealthConfig(test=["CMD", "true"], interval=5, retries=9)


def test_scalars() -> None:
    image = ContainerDefaults(cmd=["x"], user="joe", working_dir="/w", stop_signal="HUP")
    merged = merge(ContainerConfig(user="ann"), image)
    assert (merged.user, merged.working_dir, merged.stop_signal) == ("ann", "/w", "HUP")
