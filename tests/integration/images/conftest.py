"""An image store on real layers, and archives to feed it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import registries
from registries import Proxy
from registry_bench import RegistryBench

from knarr.database import Database
from knarr.images import importer, platforms, references
from knarr.images.image import Image
from knarr.images.importer import Import
from knarr.images.platforms import Platform
from knarr.images.store import ImageStore
from knarr.storage.layers import LayerStore


class Place:
    """An image store that can be closed and opened again, as an engine does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open()

    def open(self) -> None:
        """Start."""
        self.database = Database(self.root / "state.db")
        self.layers = LayerStore(self.root, self.database)
        self.store = ImageStore(self.root, self.database, self.layers)

    def close(self) -> None:
        """Stop."""
        self.layers.close()
        self.database.close()

    def reopen(self) -> ImageStore:
        """Stop and start."""
        self.close()
        self.open()
        return self.store

    def empty(self) -> bool:
        """Whether nothing but the built-in image is there, on disk neither."""
        files = [path for path in (self.root / "content").rglob("*") if path.is_file()]
        return len(self.store.all()) == 1 and not self.layers.layers() and not files


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def store(place: Place) -> ImageStore:
    return place.store


Files = dict[str, bytes]


def make_tar(files: Files, links: dict[str, str] | None = None) -> bytes:
    """A tar archive of regular files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_config(*layers: bytes, **members: Any) -> bytes:
    """An image configuration on uncompressed layers; odd spacing, so that only the original bytes have its digest."""
    document = {"architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z", "config": {"Cmd": ["sh"]}}
    return json.dumps(
        {**document, "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}, **members}, indent=3
    ).encode()


class Archives:
    """Builds what `docker load` takes."""

    tar = staticmethod(make_tar)
    digest = staticmethod(digest)
    config = staticmethod(make_config)

    @staticmethod
    def docker(
        *layers: bytes, tags: list[str], pack: Callable[[bytes], bytes] = bytes, config: bytes | None = None
    ) -> bytes:
        """An archive of the old form; `pack` compresses the layers."""
        document = make_config(*layers) if config is None else config
        name = digest(document)[7:] + ".json"
        paths = [f"{index}/layer.tar" for index in range(len(layers))]
        manifest = [{"Config": name, "RepoTags": tags, "Layers": paths}]
        files = {path: pack(layer) for path, layer in zip(paths, layers, strict=True)}
        return make_tar({**files, name: document, "manifest.json": json.dumps(manifest).encode()})

    @staticmethod
    def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    @classmethod
    def layout(cls, blobs: list[bytes], *manifests: dict[str, Any]) -> bytes:
        """An OCI layout of these blobs and these rows of index.json."""
        files = {f"blobs/sha256/{digest(blob)[7:]}": blob for blob in blobs}
        index = {"schemaVersion": 2, "manifests": list(manifests)}
        return make_tar(
            {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **files}
        )

    @classmethod
    def manifest(cls, config: bytes, layers: list[tuple[bytes, str]]) -> bytes:
        """An OCI manifest; layers as (blob, compression suffix of the media type)."""
        return json.dumps(
            {
                "schemaVersion": 2,
                "config": cls.descriptor(config, "application/vnd.oci.image.config.v1+json"),
                "layers": [
                    cls.descriptor(blob, "application/vnd.oci.image.layer.v1.tar" + suffix) for blob, suffix in layers
                ],
            }
        ).encode()


@pytest.fixture
def archives() -> Archives:
    return Archives()


@pytest.fixture
def make_image(store: ImageStore) -> Callable[..., Image]:
    """Imports an image of one file, whose content makes it unique."""

    def make(
        name: str = "",
        content: str = "x",
        changes: list[str] | None = None,
        platform: Platform | None = None,
    ) -> Image:
        wanted = Import(
            platform=platform or platforms.of_host(),
            message="made for a test",
            reference=references.parse(name).with_default_tag() if name else None,
            changes=changes or [],
        )
        return importer.import_archive(store, wanted, io.BytesIO(make_tar({"file": content.encode()})))

    return make


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with registries.running(tmp_path_factory.mktemp("registry")) as proxy:
        yield proxy


@pytest.fixture
def bench(store: ImageStore) -> Iterator[RegistryBench]:
    bench = RegistryBench(store)
    yield bench
    bench.close()
