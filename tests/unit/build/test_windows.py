"""Where the layers of images for Windows have files."""

from __future__ import annotations

import pytest

from knarr.build import windows
from knarr.errors import InvalidParameter, Unsupported
from knarr.images.config import ContainerDefaults


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        ("C:\\app\\x.exe", "", "/Files/app/x.exe"),
        ("c:/app/", "", "/Files/app/"),
        ("x", "C:\\app", "/Files/app/x"),
        (".", "C:\\app", "/Files/app/"),
        ("..\\..\\..\\x", "/app", "/Files/x"),
        ("/", "", "/Files/"),
    ],
)
def test_places(path: str, directory: str, expected: str) -> None:
    assert windows.in_layer(path, directory) == expected


def test_other_drives() -> None:
    with pytest.raises(InvalidParameter, match="system drive"):
        windows.in_layer("D:\\x")


@pytest.mark.parametrize(
    ("path", "noted", "place"),
    [("tool", "C:\\app\\tool", "/Files/app/tool"), ("/", "C:\\", "/Files"), ("c:/a/b", "C:\\a\\b", "/Files/a/b")],
)
def test_working_directories(path: str, noted: str, place: str) -> None:
    defaults = ContainerDefaults(working_dir="C:\\app")
    assert windows.enter(defaults, path) == place
    assert defaults.working_dir == noted


def test_steps() -> None:
    windows.check_run("linux")
    with pytest.raises(Unsupported, match="the image is for windows"):
        windows.check_run("windows")
