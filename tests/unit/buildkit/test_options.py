"""What frontend attributes say."""

from __future__ import annotations

import pytest

from knarr.buildkit import options
from knarr.buildkit.options import Ulimit
from knarr.errors import InvalidParameter, Unsupported


def test_nothing_given() -> None:
    found = options.read({})
    assert (found.filename, found.network, found.platforms, found.no_cache) == ("Dockerfile", "default", [], False)


def test_what_buildx_sends() -> None:
    found = options.read(
        {
            "filename": "Other",
            "target": "app",
            "build-arg:A": "1",
            "label:l": "v",
            "context:base": "docker-image://busybox",
            "local-sessionid:context": "s1",
            "platform": "linux/amd64,linux/arm64",
            "force-network-mode": "none",
            "add-hosts": "a=10.0.0.1,b=[::1]",
            "ulimit": "nofile=1:2",
            "image-resolve-mode": "pull",
            "build-arg:SOURCE_DATE_EPOCH": "17",
        }
    )
    assert (found.filename, found.target, found.labels, found.network) == ("Other", "app", {"l": "v"}, "none")
    assert found.contexts == {"base": "docker-image://busybox"}
    assert found.sessions == {"context": "s1"}
    assert [str(platform) for platform in found.platforms] == ["linux/amd64", "linux/arm64"]
    assert (found.multi_platform, found.pull, found.epoch) == (True, True, 17)
    assert found.hosts == [("a", "10.0.0.1"), ("b", "::1")]
    assert found.ulimits == [Ulimit("nofile", 1, 2)]


@pytest.mark.parametrize(("text", "stages"), [(None, []), ("", ["a", "b"]), ("A", ["a"])])
def test_stages_that_skip_the_cache(text: str | None, stages: list[str]) -> None:
    found = options.read({} if text is None else {"no-cache": text})
    assert [stage for stage in ("a", "b") if found.skips_cache(stage)] == stages


@pytest.mark.parametrize(
    "syntax", ["", "docker/dockerfile:1", "docker.io/docker/dockerfile:1.7-labs", "docker/dockerfile"]
)
def test_the_built_in_frontend(syntax: str) -> None:
    options.check_frontend(syntax)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("source", "example.com/frontend", Unsupported),
        ("attest:gossip", "", InvalidParameter),
        ("force-network-mode", "mine", InvalidParameter),
        ("add-hosts", "nothing", InvalidParameter),
        ("ulimit", "nofile", InvalidParameter),
        ("platform", "linux/amd64/v1/more", InvalidParameter),
        ("build-arg:SOURCE_DATE_EPOCH", "yesterday", InvalidParameter),
        ("image-resolve-mode", "maybe", InvalidParameter),
    ],
)
def test_what_is_refused(name: str, value: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        options.read({name: value})
