"""Pushing to a real registry, and what others get from it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import publishing
import pytest
import zstandard
from publishing import Shelf, descriptor, digest, noise
from registries import Proxy
from registry_bench import Background, RegistryBench

from knarr.errors import InvalidParameter, NotFound
from knarr.images import archives as loading
from knarr.images import pushing, references, saving
from knarr.images.cancellation import Cancellation, Cancelled
from knarr.images.platforms import Platform
from knarr.images.registry.failures import Refused
from knarr.images.store import ImageStore


@pytest.fixture
def shelf(registry: Proxy, request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """A repository of the test's own."""
    registry.seen.clear()
    yield Shelf(registry.name, "p/" + request.node.name.partition("[")[0].lower())
    registry.faults.clear()


def load(store: ImageStore, archives: Any, *layers: bytes, name: str) -> Any:
    (loaded,) = loading.load(store, io.BytesIO(archives.docker(*layers, tags=[name])))
    return loaded.image


def test_what_others_read(bench: RegistryBench, shelf: Shelf, archives: Any, tmp_path: Path) -> None:
    image = load(bench.store, archives, archives.tar({"a": b"1"}), archives.tar({"b": b"2"}), name=f"{shelf.name}:1")
    pushed = bench.push(f"{shelf.name}:1")
    source = f"docker://{shelf.name}:1"
    shown = subprocess.run(["skopeo", "inspect", "--tls-verify=false", source], capture_output=True, check=True)
    assert json.loads(shown.stdout)["Digest"] == pushed
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", source, f"dir:{tmp_path}/out"],
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "out" / image.id[7:]).read_bytes() == bench.store.raw_config(image.id)


def test_each_layer_is_prepared_once_the_uppermost_first(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    layers = [archives.tar({name: b"1"}) for name in "ab"]
    load(bench.store, archives, *layers, name=f"{shelf.name}:1")
    bench.push(f"{shelf.name}:1")
    prepared = [one["id"] for one in bench.said.messages if one.get("status") == "Preparing"]
    assert prepared == [digest(layer)[7:19] for layer in reversed(layers)]


def test_messages(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    layer = archives.tar({"a": b"1"})
    image = load(bench.store, archives, layer, name=f"{shelf.name}:1")
    pushed = bench.push(f"{shelf.name}:1")
    assert bench.statuses()[:3] == [
        f"{digest(layer)[7:19]}: {word}" for word in ("Preparing", "Pushing", "Pushed")
    ] or (bench.statuses()[:2] == [f"{digest(layer)[7:19]}: {word}" for word in ("Preparing", "Pushed")])
    size = bench.said.messages[-1]["aux"]["Size"]
    assert bench.said.messages[-2]["status"] == f"1: digest: {pushed} size: {size}"
    assert bench.said.messages[-1] == {"progressDetail": {}, "aux": {"Tag": "1", "Digest": pushed, "Size": size}}
    assert bench.store.get(image.id).repo_digests == [f"{shelf.name}@{pushed}"]


def test_pushing_again_sends_nothing(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = archives.tar({"a": b"1"})
    load(bench.store, archives, layer, name=f"{shelf.name}:1")
    first = bench.push(f"{shelf.name}:1")
    uploads = len(registry.requests("POST|PATCH"))
    assert bench.push(f"{shelf.name}:1") == first
    assert len(registry.requests("POST|PATCH")) == uploads
    assert f"{digest(layer)[7:19]}: Layer already exists" in bench.statuses()


def test_mounted_from_another_repository(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = archives.tar({"a": b"1"})
    image = load(bench.store, archives, layer, name=f"{shelf.name}:1")
    bench.push(f"{shelf.name}:1")
    bench.store.tag(image.id, references.parse(f"{shelf.name}-two:1"))
    registry.seen.clear()
    bench.push(f"{shelf.name}-two:1")
    assert f"{digest(layer)[7:19]}: Mounted from {shelf.name.partition('/')[2]}" in bench.statuses()
    assert len(registry.requests("PUT .*/blobs/uploads")) == 1  # the configuration


def test_a_pulled_image_keeps_its_manifest(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    layer = archives.tar({"a": noise(5000)})
    manifest = shelf.image(
        layer, tags=("1",), pack=zstandard.compress, media_type=f"{publishing.OCI}.layer.v1.tar+zstd"
    )
    image = bench.pull(f"{shelf.name}:1")
    bench.store.tag(image.id, references.parse(f"{shelf.name}-copy:1"))
    assert bench.push(f"{shelf.name}-copy:1") == digest(manifest)


def test_through_an_archive_the_digest_stays(bench: RegistryBench, shelf: Shelf, archives: Any, tmp_path: Path) -> None:
    manifest = shelf.image(archives.tar({"a": b"1"}), tags=("1",))
    image = bench.pull(f"{shelf.name}:1")
    archive = b"".join(saving.save(bench.store, [f"{shelf.name}:1"]))
    bench.store.delete(image.id)
    (loaded,) = loading.load(bench.store, io.BytesIO(archive))
    assert loaded.image.id == image.id
    bench.store.tag(image.id, references.parse(f"{shelf.name}-loaded:1"))
    assert bench.push(f"{shelf.name}-loaded:1") == digest(manifest)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeo_reads_a_saved_pulled_image(
    bench: RegistryBench, shelf: Shelf, archives: Any, tmp_path: Path, kind: str
) -> None:
    shelf.image(archives.tar({"a": b"1"}), archives.tar({"b": b"2"}), tags=("1",))
    image = bench.pull(f"{shelf.name}:1")
    path = tmp_path / "saved.tar"
    path.write_bytes(b"".join(saving.save(bench.store, [f"{shelf.name}:1"])))
    command = ["skopeo", "--insecure-policy", "copy", f"{kind}:{path}", f"dir:{tmp_path}/out"]
    subprocess.run(command, capture_output=True, check=True)
    assert (tmp_path / "out" / image.id[7:]).read_bytes() == bench.store.raw_config(image.id)


def test_what_skopeo_pushed(bench: RegistryBench, shelf: Shelf, archives: Any, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(archives.docker(archives.tar({"a": b"1"}), tags=["a:1"]))
    target = f"docker://{shelf.name}:1"
    command = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"docker-archive:{path}", target]
    subprocess.run(command, capture_output=True, check=True)
    assert bench.pull(f"{shelf.name}:1").size == 1


def test_a_broken_upload(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    load(bench.store, archives, archives.tar({"a": noise(4_000_000)}), name=f"{shelf.name}:1")
    registry.fault("PATCH", drop_upload=1_500_000)
    pushed = bench.push(f"{shelf.name}:1")
    assert len(registry.requests("PATCH")) == 2
    assert digest(bench.repository(f"{shelf.name}:1").manifest("1").data) == pushed


def test_no_room_in_the_registry(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layers = [archives.tar({name: noise(2_000_000)}) for name in "abc"]
    load(bench.store, archives, *layers, name=f"{shelf.name}:1")
    error = b'{"errors": [{"code": "DENIED", "message": "quota exceeded"}]}'
    registry.fault("PATCH", status=403, body=error, times=9)
    with pytest.raises(Refused, match="denied: quota exceeded"):
        bench.push(f"{shelf.name}:1")
    assert not registry.requests("PUT .*/manifests/")


def test_a_cancelled_push(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    load(bench.store, archives, archives.tar({"a": noise(2_000_000)}), name=f"{shelf.name}:1")
    fault = registry.fault("PATCH", hold=0)
    cancellation = Cancellation()
    push = Background(lambda: bench.push(f"{shelf.name}:1", cancellation=cancellation))
    assert fault.held.wait(30)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        push.wait()
    assert not registry.requests("PUT .*/manifests/")


def test_names_to_push(store: ImageStore, archives: Any) -> None:
    image = load(store, archives, archives.tar({"a": b"1"}), name="r/a:1")
    store.tag(image.id, references.parse("r/a:2"))
    found = pushing.names_to_push(store, references.parse("r/a"))
    assert [one.familiar for one in found] == ["r/a:1", "r/a:2"]
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: r/b"):
        pushing.names_to_push(store, references.parse("r/b:1"))
    with pytest.raises(InvalidParameter, match="cannot push a digest reference"):
        pushing.names_to_push(store, references.parse("r/a@sha256:" + "0" * 64))


def test_a_windows_image(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    """Its base comes from elsewhere and is not pushed; the rest is."""
    base, own = archives.tar({"Files/base": b"1"}), archives.tar({"Files/own": b"2", "Hives/x": b"3"})
    about = {"os": "windows", "os.version": "10.0.20348.1"}
    raw = json.dumps(
        {**about, "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest(base), digest(own)]}}
    )
    elsewhere = Shelf(shelf.name.partition("/")[0], "elsewhere/base")
    elsewhere.blob(base)
    for blob in (raw.encode(), own, base):
        shelf.blob(blob)
    url = f"http://{shelf.name.partition('/')[0]}/v2/elsewhere/base/blobs/{digest(base)}"
    foreign = descriptor(base, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=[url])
    config = descriptor(raw.encode(), publishing.CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": publishing.MANIFEST,
        "config": config,
        "layers": [foreign, descriptor(own, publishing.LAYER)],
    }
    manifest = shelf.manifest(document, "1")
    image = bench.pull(f"{shelf.name}:1", platform=Platform("windows", "amd64"))
    assert (image.config.os, image.config.os_version, image.size) == ("windows", "10.0.20348.1", 3)
    archive = b"".join(saving.save(bench.store, [f"{shelf.name}:1"]))
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        assert f"blobs/sha256/{digest(base)[7:]}" in members.getnames()
    bench.store.tag(image.id, references.parse(f"{shelf.name}:2"))
    assert bench.push(f"{shelf.name}:2") == digest(manifest)
    assert f"{digest(base)[7:19]}: Skipped foreign layer" in bench.statuses()
