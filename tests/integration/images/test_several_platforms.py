"""Indexes with attestations, and artifacts, on their whole way: pull, push, save, load, and the tools of others."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from publishing import Several, Shelf, digest
from registries import Proxy
from registry_bench import RegistryBench

from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.images import archives as loading
from knarr.images import packing, saving
from knarr.images.platforms import Platform
from knarr.images.references import parse
from knarr.images.registry.failures import Refused
from knarr.images.store import ImageStore

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def shelf(registry: Proxy, request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """A repository of the test's own."""
    registry.seen.clear()
    yield Shelf(registry.name, "s/" + request.node.name.partition("[")[0].lower())
    registry.faults.clear()


@pytest.fixture
def several(shelf: Shelf, archives: Any) -> Several:
    """Two platforms with attestations, under the tag 1."""
    return shelf.platforms({name: archives.tar({"file": name.encode()}) for name in ("amd64", "arm64")}, "1")


def pull_both(bench: RegistryBench, name: str) -> None:
    for platform in (AMD, ARM):
        bench.pull(name, platform=platform)


def saved(store: ImageStore, *names: str, platform: Platform | None = None) -> bytes:
    return b"".join(saving.save(store, names, platform))


def empty(store: ImageStore) -> bool:
    """Whether nothing but the built-in image is there."""
    return len(store.all()) == 1 and not (store.layers.layers() or store.content.digests() or store.manifests.all())


def emptied(store: ImageStore) -> None:
    """Remove all images."""
    for image in store.all():
        if not image.host and store.has(image.id):
            store.remove(image.id, store.names(image.id), siblings=[one.id for one in store.family(image.id)])
    assert empty(store)


def test_a_pull_keeps_the_index_and_what_is_said_of_the_platform(
    bench: RegistryBench, shelf: Shelf, several: Several
) -> None:
    image = bench.pull(f"{shelf.name}:1", platform=ARM)
    documents = bench.store.manifests
    assert image.config.architecture == "arm64"
    assert image.repo_digests == [f"{shelf.name}@{digest(several.index)}"]
    kept = documents.get(digest(several.index))
    assert kept is not None and kept.document == several.index
    assert {one.digest for one in documents.all()} == {
        digest(several.index),
        digest(several.manifests["arm64"]),
        several.attestations["arm64"],
    }


def test_a_second_platform_joins_the_first(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = archives.tar({"same": b"1"})
    several = shelf.platforms({"amd64": layer, "arm64": layer}, "1")
    pull_both(bench, f"{shelf.name}:1")
    (blob,) = {row["digest"] for one in several.manifests.values() for row in json.loads(one)["layers"]}
    assert len(registry.requests(f"GET .*{shelf.name.partition('/')[2]}/blobs/{blob}")) == 1
    assert [one.config.architecture for one in bench.store.images_of(bench.store.target(f"{shelf.name}:1"))] == [
        "amd64",
        "arm64",
    ]
    fetched = len(registry.requests("GET .*/(blobs|manifests)/"))
    bench.pull(f"{shelf.name}:1", platform=ARM)
    assert len(registry.requests("GET .*/(blobs|manifests)/")) == fetched + 1  # what the tag names


def test_an_attestation_that_is_missing_does_no_harm(
    bench: RegistryBench, shelf: Shelf, several: Several, registry: Proxy
) -> None:
    registry.fault(f"GET .*/manifests/{several.attestations['amd64']}", status=404)
    image = bench.pull(f"{shelf.name}:1", platform=AMD)
    assert packing.complete(bench.store, bench.store.manifests.of(image.id)[0])


def test_what_failed_half_way_leaves_nothing(
    bench: RegistryBench, shelf: Shelf, several: Several, registry: Proxy
) -> None:
    (statement,) = json.loads(shelf.read(several.attestations["amd64"]))["layers"]
    registry.fault(f"GET .*/blobs/{statement['digest']}", times=99, status=404)
    with pytest.raises(Refused):
        bench.pull(f"{shelf.name}:1", platform=AMD)
    assert empty(bench.store)


def test_a_whole_index_is_pushed_byte_for_byte(
    bench: RegistryBench, shelf: Shelf, several: Several, registry: Proxy
) -> None:
    pull_both(bench, f"{shelf.name}:1")
    copy = Shelf(registry.name, "s/whole-copy")
    bench.store.tag(bench.store.target(f"{shelf.name}:1"), parse(f"{copy.name}:2"))
    assert bench.push(f"{copy.name}:2") == digest(several.index)
    assert copy.read("2") == several.index
    for each in [*map(digest, several.manifests.values()), *several.attestations.values()]:
        assert copy.read(each) == shelf.read(each)


def test_of_an_index_that_is_here_in_part_this_machines_image_is_pushed(
    bench: RegistryBench, shelf: Shelf, several: Several, registry: Proxy
) -> None:
    bench.pull(f"{shelf.name}:1", platform=ARM)
    copy = f"{registry.name}/s/part-copy:1"
    bench.store.tag(bench.store.target(f"{shelf.name}:1"), parse(copy))
    assert bench.push(copy) == digest(several.manifests["arm64"])
    (note,) = [one["aux"] for one in bench.said.messages if "manifestPushedInsteadOfIndex" in one.get("aux", {})]
    assert note["originalIndex"]["digest"] == digest(several.index)
    assert note["selectedManifest"]["digest"] == digest(several.manifests["arm64"])
    assert bench.store.target(copy) == digest(several.index)


def test_which_one_is_to_be_pushed_has_to_be_clear(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    layers = {name: archives.tar({name: b""}) for name in ("ppc64le", "s390x", "riscv64")}
    several = shelf.platforms(layers, "1")
    for name in ("ppc64le", "s390x"):
        bench.pull(f"{shelf.name}:1", platform=Platform("linux", name))
    with pytest.raises(Conflict, match="multiple matching manifests found but no specific platform requested"):
        bench.push(f"{shelf.name}:1")
    assert bench.push(f"{shelf.name}:1", platform=Platform("linux", "s390x")) == digest(several.manifests["s390x"])
    with pytest.raises(NotFound, match="does not provide the specified platform"):
        bench.push(f"{shelf.name}:1", platform=ARM)


def test_saved_and_loaded_it_is_the_same(bench: RegistryBench, shelf: Shelf, several: Several) -> None:
    name = f"{shelf.name}:1"
    pull_both(bench, name)
    before = {one.digest for one in bench.store.manifests.all()}
    archive = saved(bench.store, name)
    emptied(bench.store)
    (loaded,) = loading.load(bench.store, io.BytesIO(archive))
    assert loaded.image.repo_tags == [name]
    assert bench.store.target(name) == digest(several.index)
    assert {one.digest for one in bench.store.manifests.all()} == before
    assert packing.complete(bench.store, bench.store.manifests.get(digest(several.index)))
    assert saved(bench.store, name) == archive


def test_one_platform_of_an_archive(bench: RegistryBench, shelf: Shelf, several: Several) -> None:
    name = f"{shelf.name}:1"
    pull_both(bench, name)
    whole, part = saved(bench.store, name), saved(bench.store, name, platform=ARM)
    emptied(bench.store)
    loading.load(bench.store, io.BytesIO(whole), platform=ARM)
    assert [one.config.architecture for one in bench.store.images_of(digest(several.index))] == ["arm64"]
    assert bench.store.manifests.get(several.attestations["arm64"]) is not None
    with pytest.raises(InvalidParameter, match="no image for platform linux/s390x in the archive"):
        loading.load(bench.store, io.BytesIO(whole), platform=Platform("linux", "s390x"))
    emptied(bench.store)
    loading.load(bench.store, io.BytesIO(part))
    assert bench.store.target(name) == digest(several.manifests["arm64"])


def test_others_read_what_is_saved(bench: RegistryBench, shelf: Shelf, several: Several, tmp_path: Path) -> None:
    pull_both(bench, f"{shelf.name}:1")
    (tmp_path / "saved.tar").write_bytes(saved(bench.store, f"{shelf.name}:1"))
    shown = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci-archive:{tmp_path}/saved.tar"], capture_output=True, check=True
    )
    assert shown.stdout == several.index
    copied = [
        "skopeo",
        "--insecure-policy",
        "copy",
        "--all",
        f"oci-archive:{tmp_path}/saved.tar",
        f"dir:{tmp_path}/out",
    ]
    subprocess.run(copied, capture_output=True, check=True)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == several.index


def test_archives_of_others_are_loaded_whole(
    bench: RegistryBench, shelf: Shelf, several: Several, tmp_path: Path
) -> None:
    source = f"docker://{shelf.name}:1"
    target = f"oci-archive:{tmp_path}/skopeo.tar:{shelf.name}:1"
    command = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false", source, target]
    subprocess.run(command, capture_output=True, check=True)
    with (tmp_path / "skopeo.tar").open("rb") as archive:
        loading.load(bench.store, archive)
    assert bench.store.target(f"{shelf.name}:1") == digest(several.index)
    assert packing.complete(bench.store, bench.store.manifests.get(digest(several.index)))


def test_a_blob_of_an_attestation_is_verified(
    bench: RegistryBench, shelf: Shelf, several: Several, archives: Any
) -> None:
    pull_both(bench, f"{shelf.name}:1")
    (statement,) = json.loads(shelf.read(several.attestations["amd64"]))["layers"]
    with tarfile.open(fileobj=io.BytesIO(saved(bench.store, f"{shelf.name}:1"))) as archive:
        files = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]
    emptied(bench.store)
    path = f"blobs/sha256/{statement['digest'][7:]}"
    files[path] = files[path].upper()
    with pytest.raises(InvalidParameter, match=f"the content of {statement['digest']} is another"):
        loading.load(bench.store, io.BytesIO(archives.tar(files)))
    assert empty(bench.store)


def test_an_artifact_goes_everywhere(bench: RegistryBench, shelf: Shelf, registry: Proxy, place: Any) -> None:
    manifest = shelf.artifact(b"one", b"two", tags=("1",))
    bench.pull(f"{shelf.name}:1")
    archive = saved(bench.store, f"{shelf.name}:1")
    emptied(bench.store)
    (loaded,) = loading.load(bench.store, io.BytesIO(archive))
    assert (loaded.image.id, loaded.image.artifact) == (digest(manifest), "application/vnd.test.thing")
    copy = Shelf(registry.name, "s/artifact-copy")
    bench.store.tag(loaded.image.id, parse(f"{copy.name}:1"))
    assert bench.push(f"{copy.name}:1") == digest(manifest)
    assert copy.read("1") == manifest
    store = place.reopen()
    assert store.resolve(f"{copy.name}:1") == bench.store.resolve(f"{copy.name}:1")
    with pytest.raises(InvalidParameter, match=r"not an image but an artifact of type application/vnd\.test\.thing"):
        store.usable(f"{copy.name}:1")


def test_an_artifact_in_an_index(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    from publishing import MANIFEST, descriptor

    image, thing = shelf.image(archives.tar({"a": b"1"})), shelf.artifact(b"thing")
    rows = [
        descriptor(image, MANIFEST, platform={"architecture": "amd64", "os": "linux"}),
        descriptor(thing, MANIFEST, artifactType="application/vnd.test.thing"),
    ]
    index = shelf.index(*rows, tags=("1",))
    pulled = bench.pull(f"{shelf.name}:1", platform=AMD)
    members = bench.store.members(bench.store.target(f"{shelf.name}:1"))
    assert [member.kind for member in members] == ["image", "image"]  # as long as it is not here
    assert bench.pull(f"{shelf.name}:1", platform=Platform("linux", "s390x")).id == pulled.id
    members = bench.store.members(digest(index))
    assert [member.kind for member in members] == ["image", "unknown"]
    assert packing.complete(bench.store, bench.store.manifests.get(digest(index)))
