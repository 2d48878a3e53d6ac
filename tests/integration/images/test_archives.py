"""Loading and saving archives of images."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.errors import InvalidParameter, KnarrError, NotFound
from knarr.images import archives as subject
from knarr.images import saving
from knarr.images.platforms import Platform

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def load(place: Any, archive: bytes, **options: Any) -> list[subject.Loaded]:
    return subject.load(place.store, io.BytesIO(archive), **options)


def layers_for(archives: Any) -> list[bytes]:
    return [archives.tar({"a": b"lower"}), archives.tar({"b": b"upper!", ".wh.a": b""})]


@pytest.mark.parametrize("outer", [bytes, gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("inner", [bytes, gzip.compress, zstandard.compress])
def test_docker_archives(
    place: Any, archives: Any, outer: Callable[[bytes], bytes], inner: Callable[[bytes], bytes]
) -> None:
    layers = layers_for(archives)
    (loaded,) = load(place, outer(archives.docker(*layers, tags=["app:1", "app:2"], pack=inner)))
    assert loaded.image.id == archives.digest(archives.config(*layers))
    assert loaded.image.repo_tags == ["app:1", "app:2"]
    assert loaded.image.size == len("lower") + len("upper!")


def test_loading_again_changes_nothing(place: Any, archives: Any) -> None:
    archive = archives.docker(*layers_for(archives), tags=["app:1"])
    (first,) = load(place, archive)
    (again,) = load(place, archive)
    assert first.image.id == again.image.id
    assert again.names[0][1] is None
    assert len(place.layers.layers()) == 2


def test_a_name_that_another_image_had(place: Any, archives: Any) -> None:
    (first,) = load(place, archives.docker(archives.tar({"a": b"1"}), tags=["app:1"]))
    (second,) = load(place, archives.docker(archives.tar({"a": b"2"}), tags=["app:1"]))
    assert second.names[0][1] == first.image.id
    assert place.store.get(first.image.id).dangling


def test_the_same_layer_twice_through_a_link(place: Any, archives: Any) -> None:
    layer = archives.tar({"a": b"1"})
    document = archives.config(layer, layer)
    manifest = [{"Config": "c.json", "RepoTags": None, "Layers": ["one/layer.tar", "two/layer.tar"]}]
    archive = archives.tar(
        {"one/layer.tar": layer, "c.json": document, "manifest.json": json.dumps(manifest).encode()},
        links={"two/layer.tar": "../one/layer.tar"},
    )
    (loaded,) = load(place, archive)
    assert loaded.names == []
    assert len(place.layers.layers()) == 2


def test_progress_is_told(place: Any, archives: Any) -> None:
    layer = archives.tar({"a": b"1" * 100_000})
    messages: list[dict[str, Any]] = []
    load(place, archives.docker(layer, tags=[]), report=messages.append)
    assert messages[-1]["status"] == "Loading layer"
    assert messages[-1]["id"] == archives.digest(layer)[7:19]
    assert messages[-1]["progressDetail"] == {"current": len(layer), "total": len(layer)}


def test_oci_layouts(place: Any, archives: Any) -> None:
    layers = layers_for(archives)
    document = archives.config(*layers)
    blobs = [gzip.compress(layers[0]), zstandard.compress(layers[1])]
    manifest = archives.manifest(document, list(zip(blobs, ["+gzip", "+zstd"], strict=True)))
    row = archives.descriptor(
        manifest, MANIFEST, annotations={"org.opencontainers.image.ref.name": "quay.example/app:1"}
    )
    (loaded,) = load(place, archives.layout([document, manifest, *blobs], row))
    assert loaded.image.repo_tags == ["quay.example/app:1"]
    assert place.store.blob_of(archives.digest(layers[1])).digest == archives.digest(blobs[1])


@pytest.mark.parametrize(
    ("annotations", "tags"),
    [
        ({}, []),
        ({"org.opencontainers.image.ref.name": "latest"}, []),
        ({"io.containerd.image.name": "docker.io/library/app:2", "org.opencontainers.image.ref.name": "2"}, ["app:2"]),
    ],
)
def test_names_in_layouts(place: Any, archives: Any, annotations: dict[str, str], tags: list[str]) -> None:
    document = archives.config()
    manifest = archives.manifest(document, [])
    row = archives.descriptor(manifest, MANIFEST, annotations=annotations)
    (loaded,) = load(place, archives.layout([document, manifest], row))
    assert loaded.image.repo_tags == tags


def multi_platform(archives: Any) -> bytes:
    """A layout with an index: an attestation, an image for arm64 and one for s390x."""
    documents = [archives.config(architecture=architecture) for architecture in ("none", "arm64", "s390x")]
    manifests = [archives.manifest(document, []) for document in documents]
    rows = [
        archives.descriptor(manifests[0], MANIFEST, annotations={"vnd.docker.reference.type": "attestation-manifest"}),
        archives.descriptor(manifests[1], MANIFEST, platform={"os": "linux", "architecture": "arm64"}),
        archives.descriptor(manifests[2], MANIFEST, platform={"os": "linux", "architecture": "s390x"}),
    ]
    index = json.dumps({"schemaVersion": 2, "manifests": rows}).encode()
    blobs: list[bytes] = [index, *documents, *manifests]
    layout: bytes = archives.layout(blobs, archives.descriptor(index, INDEX))
    return layout


def test_the_platform_chooses(place: Any, archives: Any) -> None:
    (loaded,) = load(place, multi_platform(archives), platform=Platform("linux", "s390x"))
    assert loaded.image.config.architecture == "s390x"


def test_no_image_for_the_platform(place: Any, archives: Any) -> None:
    with pytest.raises(InvalidParameter, match="no image for platform linux/386"):
        load(place, multi_platform(archives), platform=Platform("linux", "386"))


def test_a_member_of_holes(place: Any) -> None:
    """It has a terabyte, of which the archive has no byte (GNU's sparse files, version 0.1)."""
    member = tarfile.TarInfo("layer.tar")
    member.pax_headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.numblocks": "0", "GNU.sparse.map": "0,0"}
    with pytest.raises(InvalidParameter, match=r"layer\.tar is too large"):
        load(place, member.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


def wrong_archives(archives: Any) -> dict[str, bytes]:
    layer = archives.tar({"a": b"1"})
    document = archives.config(layer)
    manifest = archives.manifest(document, [(layer, "")])
    row = archives.descriptor(manifest, MANIFEST)
    good = archives.tar({"a": b"good"})
    two = [
        {"Config": "good.json", "RepoTags": ["good:1"], "Layers": ["good.tar"]},
        {"Config": "bad.json", "RepoTags": [], "Layers": ["bad.tar"]},
    ]
    loop = archives.descriptor(b"", INDEX)
    return {
        "empty": b"",
        "garbage": b"garbage" * 500,
        "cut short": archives.docker(layer, tags=["a"])[:2000],
        "no manifest": archives.tar({"x": b"y"}),
        "manifest is no JSON": archives.tar({"manifest.json": b"["}),
        "manifest of wrong types": archives.tar({"manifest.json": b'[{"Config": 1}]'}),
        "configuration missing": archives.tar({"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}),
        "fewer layers than diff_ids": archives.docker(config=document, tags=["a"]),
        "layer of another diff_id": archives.docker(layer, tags=["a"], config=archives.config(good)),
        "layer that is no archive": archives.docker(b"x" * 1024, tags=["a"]),
        "bad name": archives.docker(layer, tags=["BAD"]),
        "the built-in image's name": archives.docker(layer, tags=["app:1", "host:latest"]),
        "second image wrong": archives.tar(
            {
                "good.json": archives.config(good),
                "good.tar": good,
                "bad.json": document,
                "bad.tar": good,
                "manifest.json": json.dumps(two).encode(),
            }
        ),
        "blob is another": archives.layout([document, manifest, layer], {**row, "size": 3}),
        "blob missing": archives.layout([document, manifest], row),
        "unknown digest": archives.layout([manifest], {**row, "digest": "sha512:" + "a" * 128}),
        "digest with a path": archives.layout([manifest], {**row, "digest": "sha256:../../x"}),
        "artifact": archives.layout([manifest], {**row, "mediaType": "text/plain"}),
        "index missing": archives.layout([], loop),
    }


@pytest.mark.parametrize(
    "name",
    [
        "empty", "garbage", "cut short", "no manifest", "manifest is no JSON", "manifest of wrong types",
        "configuration missing", "fewer layers than diff_ids", "layer of another diff_id", "layer that is no archive",
        "bad name", "the built-in image's name", "second image wrong", "blob is another", "blob missing",
        "unknown digest", "digest with a path", "artifact", "index missing",
    ],
)  # fmt: skip
def test_wrong_archives_leave_nothing(place: Any, archives: Any, name: str) -> None:
    with pytest.raises(KnarrError) as raised:
        load(place, wrong_archives(archives)[name])
    assert type(raised.value) is not KnarrError
    assert place.empty()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives_are_refused_or_loaded(place: Any, archives: Any, data: st.DataObject) -> None:
    """Whatever byte is changed: a clear refusal that leaves nothing, or an image whose digests are right."""
    archive = bytearray(archives.docker(archives.tar({"a": b"1"}), tags=["app:1"], pack=gzip.compress))
    position = data.draw(st.integers(0, len(archive) - 1))
    archive[position] = data.draw(st.integers(0, 255))
    try:
        loaded = load(place, bytes(archive))
    except KnarrError:
        assert place.empty()
        return
    for item in loaded:
        assert archives.digest(place.store.raw_config(item.image.id)) == item.image.id
        place.store.delete(item.image.id)


# -- saving


def save(place: Any, *names: str) -> bytes:
    return b"".join(saving.save(place.store, names))


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = [member for member in opened if member.isfile()]
        return {member.name: opened.extractfile(member).read() for member in files}  # type: ignore[union-attr]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_saved_blobs_are_the_original_bytes(place: Any, archives: Any, pack: Callable[[bytes], bytes]) -> None:
    layers = layers_for(archives)
    load(place, archives.docker(*layers, tags=["app:1"], pack=pack))
    saved = members(save(place, "app:1")).values()
    assert archives.config(*layers) in saved
    assert all(pack(layer) in saved for layer in layers)


@pytest.mark.parametrize("drop", ["manifest.json", "index.json"])
def test_both_readers_find_the_same(place: Any, archives: Any, drop: str) -> None:
    (loaded,) = load(place, archives.docker(*layers_for(archives), tags=["app:1"], pack=gzip.compress))
    files = members(save(place, "app:1"))
    place.store.delete(loaded.image.id)
    assert place.empty()
    del files[drop]
    (again,) = load(place, archives.tar(files))
    assert (again.image.id, again.image.repo_tags) == (loaded.image.id, ["app:1"])


def test_saving_is_repeatable(place: Any, archives: Any) -> None:
    load(place, archives.docker(*layers_for(archives), tags=["app:1", "app:2"]))
    first = save(place, "app")
    place.reopen()
    assert save(place, "app") == first
    assert json.loads(members(first)["manifest.json"])[0]["RepoTags"] == ["app:1", "app:2"]
    assert set(json.loads(members(first)["repositories"])["app"]) == {"1", "2"}


def test_by_id_there_are_no_names(place: Any, archives: Any) -> None:
    (loaded,) = load(place, archives.docker(*layers_for(archives), tags=["app:1"]))
    files = members(save(place, loaded.image.id[7:19]))
    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None
    assert "repositories" not in files


def test_odd_compressions_are_saved_plain(place: Any, archives: Any) -> None:
    layer = archives.tar({"a": b"1"})
    load(place, archives.docker(layer, tags=["app:1"], pack=lzma.compress))
    assert layer in members(save(place, "app:1")).values()


def test_what_cannot_be_saved(place: Any) -> None:
    with pytest.raises(NotFound, match="No such image: none:latest"):
        save(place, "none")
    with pytest.raises(InvalidParameter, match="built-in image"):
        save(place, "host")
