"""`knarr images --tree`: which images are shown."""

from __future__ import annotations

from typing import Any

import pytest

from knarr.cli import image_tree


@pytest.mark.parametrize(
    ("dangling", "shown"), [(False, ["a:1", "<untagged>"]), (True, ["a:1", "<untagged>", "<untagged>"])]
)
def test_a_digest_is_a_name(capsys: pytest.CaptureFixture[str], dangling: bool, shown: list[str]) -> None:
    names: list[dict[str, Any]] = [{"RepoTags": ["a:1"]}, {"RepoDigests": ["a@sha256:1"]}, {}]
    images: Any = [{"Id": "sha256:1", "Size": 1, **each} for each in names]
    image_tree.show(images, dangling=dangling)
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()[4:] if line]
    assert rows == shown
