"""What is said of results: provenance, bills of materials, the history of builds, annotations."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from buildkit_client import Build, BuildClient, Received
from grpclib.client import UnaryStreamMethod
from harness import Daemon
from rootful import LOOPBACK

from knarr.buildkit.proto import content_pb2 as content
from knarr.buildkit.proto import control_pb2 as control

CONTROL = "/moby.buildkit.v1.Control"
SIMPLE = "FROM busybox AS base\nFROM scratch\nCOPY --from=base /etc/passwd /f\n"


def blobs(received: Received) -> dict[str, bytes]:
    """The files of an archive that came, by name."""
    archive = received.archive()
    return {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}


def document(files: dict[str, bytes], digest: str) -> dict[str, Any]:
    return json.loads(files[f"blobs/{digest.replace(':', '/')}"])


def oci(build: Any, dockerfile: str, attributes: dict[str, str] | None = None, **options: str) -> dict[str, bytes]:
    received = Received(tree=False)
    done = build(dockerfile, exporter="oci", attributes=attributes or {}, received=received, **options)
    assert done.error is None
    return blobs(received)


def top(files: dict[str, bytes]) -> dict[str, Any]:
    return document(files, json.loads(files["index.json"])["manifests"][0]["digest"])


def test_provenance_beside_an_image(build: Any) -> None:
    asked = {"attest:provenance": "mode=max", "build-arg:X": "y", "vcs:source": "https://example.com/r"}
    files = oci(build, f"ARG X\n{SIMPLE}", {"name": "bk-said:1"}, **asked)
    image, said = top(files)["manifests"]
    assert said["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert said["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    (layer,) = document(files, said["digest"])["layers"]
    assert layer["annotations"] == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    statement = document(files, layer["digest"])
    (subject,) = statement["subject"]
    assert subject["name"] == "pkg:docker/bk-said@1?platform=linux%2Famd64"
    assert f"sha256:{subject['digest']['sha256']}" == image["digest"]
    predicate = statement["predicate"]
    assert predicate["materials"][0]["uri"] == "pkg:docker/busybox@latest?platform=linux%2Famd64"
    assert predicate["invocation"]["parameters"]["args"]["build-arg:X"] == "y"
    assert predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["vcs"] == {
        "source": "https://example.com/r"
    }
    steps = predicate["buildConfig"]["llbDefinition"]
    assert [next(iter(step["op"]["Op"])) for step in steps] == ["source", "file"]


def test_provenance_in_slsa_1(build: Any) -> None:
    received = Received(tree=True)
    asked = {"attest:provenance": "mode=min,version=v1,builder-id=me,reproducible=true", "build-arg:X": "y"}
    done = build(SIMPLE, exporter="local", received=received, **asked)
    assert done.error is None
    statement = json.loads(received.files["provenance.json"])
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert [subject["name"] for subject in statement["subject"]] == ["f"]
    details = statement["predicate"]["runDetails"]
    assert details["builder"] == {"id": "me"}
    assert details["metadata"]["buildkit_completeness"] == {"request": False, "resolvedDependencies": True}
    assert details["metadata"]["buildkit_reproducible"] is True
    assert "build-arg:X" not in statement["predicate"]["buildDefinition"]["externalParameters"]["request"]["args"]


def test_provenance_that_nobody_asked_for(build: Any, docker: Any) -> None:
    """buildx always sends this: an image of the store stays what it is, and files have nothing beside them."""
    asked = {"attest:provenance": "mode=min,inline-only=true"}
    received = Received(tree=True)
    build(SIMPLE, exporter="local", received=received, **asked)
    assert received.files.keys() == {"f"}
    done = build(SIMPLE, attributes={"name": "bk-plain:1"}, **asked)
    assert done.response["containerimage.digest"] == done.image
    assert "manifests" not in top(oci(build, SIMPLE, **asked))


def test_an_image_of_the_store_with_provenance(build: Any, docker: Any) -> None:
    done = build(SIMPLE, attributes={"name": "bk-index:1"}, **{"attest:provenance": "mode=min"})
    descriptor = json.loads(base64.b64decode(done.response["containerimage.descriptor"]))
    assert descriptor["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert descriptor["digest"] == done.response["containerimage.digest"] != done.image
    assert docker("image", "inspect", "--format", "{{.Os}}", "bk-index:1") == "linux"


def test_the_same_image_built_again_leaves_no_index_behind(build: Any, docker: Any) -> None:
    for _ in range(2):
        done = build(SIMPLE, attributes={"name": "bk-again:1"}, **{"attest:provenance": ""})
    digests = json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", "bk-again:1"))
    assert [each for each in digests if "again" in each] == [f"bk-again@{done.response['containerimage.digest']}"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"attest:provenance": "mode=half"}, 'invalid mode "half"'),
        ({"attest:provenance": "version=v3"}, "invalid provenance SLSA version: v3"),
        ({"attest:gossip": "mode=max"}, 'unknown attestation type "gossip"'),
        ({"attest:sbom": "generator=localhost:1/nowhere"}, "localhost:1/"),
    ],
)
def test_attestations_that_cannot_be_made(build: Any, asked: dict[str, str], words: str) -> None:
    assert words in build(SIMPLE, **asked).error.message


STATEMENT = '{"predicateType":"https://spdx.dev/Document","predicate":{"files":"%s"}}'
SCANNER = f"""FROM busybox
COPY <<'E' /scan
printf '{STATEMENT}' $(ls $BUILDKIT_SCAN_SOURCE) > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json
E
CMD ["sh", "/scan"]
"""


@pytest.mark.parametrize(("compression", "ending"), [("zstd", "+zstd"), ("uncompressed", ""), ("gzip", "+gzip")])
def test_how_layers_are_compressed(build: Any, engine_host: Daemon, compression: str, ending: str) -> None:
    received = Received(tree=False)
    text = f"FROM scratch\nCOPY Dockerfile /{compression}\nCMD x\n"
    wanted = {"compression": compression, "name": "bk-compressed:1"}
    assert build(text, exporter="oci", attributes=wanted, received=received).error is None
    (layer,) = top(blobs(received))["layers"]
    assert layer["mediaType"] == f"application/vnd.oci.image.layer.v1.tar{ending}"
    engine_host.docker("load", input=received.data)


def test_compressions_that_there_are_not(build: Any) -> None:
    done = build(SIMPLE, exporter="oci", attributes={"compression": "estargz"}, received=Received(tree=False))
    assert done.error.message == "exporter oci does not support compression=estargz"


@pytest.mark.parametrize("kind", ["image", "oci"])
@pytest.mark.parametrize("wanted", [{"oci-mediatypes": "false", "compression": "zstd"}, {"source-date-epoch": "1"}])
def test_options_of_exporters_that_there_are_not(build: Any, kind: str, wanted: dict[str, str]) -> None:
    attributes = {"name": "localhost:1/refused:1", "push": "true", **wanted}
    done = build(SIMPLE, exporter=kind, attributes=attributes, received=Received(tree=False))
    assert done.error.message.startswith(f"exporter {kind} does not support {next(iter(wanted))}")


@LOOPBACK
@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "application/vnd.docker.distribution.manifest.v2+json"),
        ({"oci-mediatypes": "true"}, "application/vnd.oci.image.manifest.v1+json"),
    ],
)
def test_the_kind_of_manifest_that_is_pushed(build: Any, registry: str, more: dict[str, str], kind: str) -> None:
    text = f"FROM busybox\nCOPY Dockerfile /pushed-{len(more)}\n"  # that nobody has packed before
    done = build(text, attributes={"name": f"{registry}/kind:1", "push": "true", **more})
    assert json.loads(base64.b64decode(done.response["containerimage.descriptor"]))["mediaType"] == kind


def test_a_bill_of_materials(build: Any) -> None:
    assert build(SCANNER, attributes={"name": "bk-scanner:1"}).error is None
    received = Received(tree=True)
    done = build(SIMPLE, exporter="local", received=received, **{"attest:sbom": "generator=bk-scanner:1"})
    assert done.error is None
    statement = json.loads(received.files["sbom.spdx.json"])
    assert statement["predicate"] == {"files": "f"}
    assert statement["subject"][0]["name"] == "f"


def test_a_bill_of_materials_of_more(build: Any) -> None:
    scanner = SCANNER.replace("ls $BUILDKIT_SCAN_SOURCE", "cd $BUILDKIT_SCAN_SOURCE_EXTRAS && echo */* | tr ' ' ,")
    assert build(scanner, attributes={"name": "bk-scanner:2"}).error is None
    text = (
        "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nFROM scratch AS a\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n"
        "COPY Dockerfile /in-a\nFROM scratch AS b\nCOPY Dockerfile /in-b\n"
        "FROM scratch\nCOPY --from=a /in-a /\nCOPY --from=b /in-b /\n"
    )
    received = Received(tree=True)
    done = build(text, exporter="local", received=received, **{"attest:sbom": "generator=bk-scanner:2"})
    assert done.error is None
    found = json.loads(received.files["sbom.spdx.json"])["predicate"]["files"]
    assert found == "sbom-a/in-a,sbom-context/Dockerfile"


def test_annotations(build: Any) -> None:
    wanted = {
        "annotation.a": "1",
        "annotation-manifest[linux/amd64].b": "2",
        "annotation-index.c": "3",
        "annotation-manifest-descriptor.d": "4",
        "annotation-index-descriptor.e": "5",
    }
    files = oci(build, "FROM scratch\nCOPY Dockerfile /\n", wanted, platform="linux/amd64,linux/arm64")
    (described,) = json.loads(files["index.json"])["manifests"]
    index = top(files)
    assert (described["annotations"], index["annotations"]) == ({"e": "5"}, {"c": "3"})
    assert [row["annotations"] for row in index["manifests"]] == [{"d": "4"}] * 2
    found = {row["platform"]["architecture"]: document(files, row["digest"]) for row in index["manifests"]}
    assert found["amd64"]["annotations"] == {"a": "1", "b": "2"}
    assert found["arm64"]["annotations"] == {"a": "1"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annotation-index.x", "index annotations not supported for single platform export"),
        ("annotation[linux/s390x].x", "no platform linux/s390x found in source"),
        ("annotation-odd.x", "unrecognized annotation annotation-odd.x"),
    ],
)
def test_annotations_without_a_place(build: Any, name: str, words: str) -> None:
    done = build(SIMPLE, exporter="oci", attributes={name: "y"}, received=Received(tree=False))
    assert words in done.error.message


def test_an_image_in_a_layout_of_the_client(do: Any, tmp_path: Path) -> None:
    async def work(client: BuildClient) -> tuple[Build, dict[str, bytes]]:
        return await client.build(tmp_path, SIMPLE, exporter="oci", attributes={"tar": "false"}), client.content.blobs

    done, found = do(work)
    assert done.error is None
    manifest = json.loads(found[done.response["containerimage.digest"]])
    assert {manifest["config"]["digest"], manifest["layers"][0]["digest"]} < found.keys()


# The history


async def events(client: BuildClient, **wanted: Any) -> list[control.BuildHistoryRecord]:
    method = UnaryStreamMethod(
        client.channel, f"{CONTROL}/ListenBuildHistory", control.BuildHistoryRequest, control.BuildHistoryEvent
    )
    request = control.BuildHistoryRequest(EarlyExit=True, **wanted)
    return [event.record for event in await method(request)]


async def read(client: BuildClient, digest: str) -> bytes:
    method = UnaryStreamMethod(
        client.channel,
        "/containerd.services.content.v1.Content/Read",
        content.ReadContentRequest,
        content.ReadContentResponse,
    )
    return b"".join([piece.data for piece in await method(content.ReadContentRequest(digest=digest))])


async def told(client: BuildClient, ref: str) -> str:
    method = UnaryStreamMethod(client.channel, f"{CONTROL}/Status", control.StatusRequest, control.StatusResponse)
    messages = await method(control.StatusRequest(Ref=ref))
    return b"".join(log.msg for message in messages for log in message.logs).decode()


def test_the_history_outlives_the_engine(new_daemon: Any, busybox_archive: bytes, tmp_path: Path) -> None:
    daemon: Daemon = new_daemon()
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)

    async def before() -> tuple[Build, Build]:
        async with BuildClient.connected(daemon.socket_path) as client:
            good = await client.build(tmp_path, "FROM busybox\nRUN echo kept\n")
            return good, await client.build(tmp_path, "FROM busybox\nRUN exit 3\n")

    async def after(good: Build, bad: Build) -> None:
        async with BuildClient.connected(daemon.socket_path) as client:
            assert [record.Ref for record in await events(client)] == [good.ref, bad.ref]
            assert [record.Ref for record in await events(client, Filter=["status==error"])] == [bad.ref]
            (record,) = await events(client, Ref=good.ref)
            (descriptor,) = record.Result.Attestations
            predicate = json.loads(await read(client, descriptor.digest))
            assert predicate["metadata"]["buildInvocationID"] == good.ref
            (failed,) = await events(client, Ref=bad.ref)
            assert b"errdefs" in await read(client, failed.externalError.digest)
            assert await told(client, good.ref) == "kept\n"
            delete = control.UpdateBuildHistoryRequest(Ref=good.ref, Delete=True)
            await client.unary(CONTROL[1:], "UpdateBuildHistory", delete, control.UpdateBuildHistoryResponse)
            assert [record.Ref for record in await events(client)] == [bad.ref]

    builds = asyncio.run(before())
    daemon.stop()
    daemon.start()
    asyncio.run(after(*builds))
