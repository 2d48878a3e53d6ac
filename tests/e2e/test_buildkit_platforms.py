"""Builds for several platforms, images of the client's, and what steps may do only if they are allowed to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from buildkit_client import Build, BuildClient, Received
from harness import Daemon
from rootful import LOOPBACK

CROSS = (
    "FROM --platform=$BUILDPLATFORM busybox AS build\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n"
    "FROM scratch\nCOPY --from=build /arch /arch\nCMD x\n"
)
BOTH = "linux/amd64,linux/arm64"


def test_an_index_in_the_store(build: Any, docker: Any) -> None:
    done = build(CROSS, attributes={"name": "bk-both:1"}, platform=BOTH)
    assert done.error is None
    for architecture in ("amd64", "arm64"):
        platform = f"linux/{architecture}"
        found = docker("image", "inspect", "--platform", platform, "--format", "{{.Architecture}}", "bk-both:1")
        assert found == architecture


def test_two_indexes_with_one_image(build: Any, engine_host: Daemon) -> None:
    """The image for this machine is the same: the names are told apart by what else their indexes list."""
    platforms = {"bk-same:1": ["arm64"], "bk-same:2": ["arm64", "s390x"]}
    for name, others in platforms.items():
        wanted = ",".join(f"linux/{each}" for each in ("amd64", *others))
        assert build("FROM scratch\nCOPY Dockerfile /same\n", attributes={"name": name}, platform=wanted).error is None
    _, body = engine_host.request("GET", "/images/json?manifests=1&filters=" + quote('{"reference":["bk-same"]}'))
    found = {
        tag: [each["ImageData"]["Platform"]["architecture"] for each in row["Manifests"]]
        for row in body
        for tag in row["RepoTags"]
    }
    assert found == {name: ["amd64", *others] for name, others in platforms.items()}


def test_a_platform_of_an_index_as_a_base(build: Any) -> None:
    assert build(CROSS, attributes={"name": "bk-bases:1"}, platform=BOTH).error is None
    received = Received(tree=True)
    done = build("FROM bk-bases:1\nCOPY Dockerfile /\n", exporter="local", received=received, platform=BOTH)
    assert done.error is None
    assert received.files["linux_arm64/arch"] == b"arm64\n"
    assert received.files["linux_amd64/arch"] == b"amd64\n"


def test_platforms_that_are_asked_for_count(build: Any) -> None:
    """The last stage says that it is this machine's: it is built once, and listed for both."""
    received = Received(tree=False)
    text = "FROM --platform=$BUILDPLATFORM busybox\nRUN true\n"
    done = build(text, exporter="oci", received=received, platform="linux/amd64,linux/386")
    assert done.error is None
    archive = received.archive()
    (row,) = json.load(archive.extractfile("index.json"))["manifests"]
    index = json.load(archive.extractfile(f"blobs/{row['digest'].replace(':', '/')}"))
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "386"]


def test_files_of_two_platforms_in_one_directory(build: Any) -> None:
    received = Received(tree=True)
    asked = {"platform": BOTH, "attest:provenance": "mode=min"}
    done = build(CROSS, exporter="local", attributes={"platform-split": "false"}, received=received, **asked)
    assert done.error is None
    assert received.files.keys() == {"arch", "provenance.linux_amd64.json", "provenance.linux_arm64.json"}


@LOOPBACK
def test_an_index_in_a_registry(build: Any, registry: str) -> None:
    name = f"{registry}/both:1"
    asked = {"platform": BOTH, "attest:provenance": "mode=min,inline-only=true"}
    done = build(CROSS, attributes={"name": name, "push": "true"}, **asked)
    assert done.error is None
    accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
    with urlopen(Request(f"http://{registry}/v2/both/manifests/1", headers=accept)) as answer:
        pushed = json.load(answer)
    platforms = [row["platform"]["architecture"] for row in pushed["manifests"]]
    assert platforms == ["amd64", "arm64", "unknown", "unknown"]


def test_steps_that_nothing_emulates(build: Any, docker: Any) -> None:
    assert (
        build("FROM scratch\nCOPY Dockerfile /\n", attributes={"name": "bk-z:1"}, platform="linux/nosuch").error is None
    )
    done = build("FROM bk-z:1\nRUN true\n", platform="linux/nosuch")
    assert "a step for linux/nosuch cannot be executed on linux/amd64: no emulator is registered" in done.error.message


def test_an_image_of_the_client_as_a_base(do: Any, tmp_path: Path) -> None:
    async def work(client: BuildClient) -> Build:
        text = "FROM busybox\nRUN echo from-the-layout > /f\nENV A=1\n"
        first = await client.build(tmp_path, text, exporter="oci", attributes={"tar": "false"})
        given = {"context:base": f"oci-layout://a-store:latest@{first.response['containerimage.digest']}"}
        return await client.build(tmp_path, "FROM base\nRUN cat /f; echo $A\n", **given)

    done = do(work)
    assert (done.error, done.log.split()) == (None, ["from-the-layout", "1"])


@pytest.mark.parametrize(
    ("context", "words"),
    [("oci-layout://a-store", "must have a digest"), (f"oci-layout://a-store@sha256:{'0' * 64}", "failed to read")],
)
def test_images_that_the_client_does_not_have(build: Any, context: str, words: str) -> None:
    assert words in build("FROM base\n", **{"context:base": context}).error.message


# Entitlements

INSECURE = "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status\n"


def test_entitlements_that_the_engine_does_not_grant(build: Any) -> None:
    done = build(INSECURE, entitlements=("security.insecure",))
    assert done.error.message == "granting entitlement security.insecure is not allowed by build daemon configuration"


def test_privileged_steps(new_daemon: Any, busybox_archive: bytes, tmp_path: Path) -> None:
    daemon: Daemon = new_daemon("--build-entitlement", "security.insecure")
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)

    async def work() -> None:
        async with BuildClient.connected(daemon.socket_path) as client:
            refused = await client.build(tmp_path, INSECURE)
            assert refused.error.message == "security.insecure is not allowed"
            granted = await client.build(tmp_path, INSECURE, entitlements=("security.insecure",))
            usual = await client.build(tmp_path, INSECURE.replace("--security=insecure ", ""))
            has, lacks = (int(each.log.split()[1], 16) for each in (granted, usual))
            assert has & ~lacks & 1 << 21  # CAP_SYS_ADMIN

    asyncio.run(work())
