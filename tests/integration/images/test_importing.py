"""Importing root file systems."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.errors import Conflict, InvalidParameter, KnarrError
from knarr.images import download, importer, platforms, references
from knarr.images.importer import Import
from knarr.images.platforms import Platform

wanted = functools.partial(Import, platform=platforms.of_host(), message="hello")


def test_one_layer_with_the_changes(place: Any, archives: Any) -> None:
    archive = archives.tar({"etc/motd": b"hi"})
    name = references.parse("app:1")
    image = importer.import_archive(place.store, wanted(changes=["CMD x"], reference=name), io.BytesIO(archive))
    assert image.config.rootfs.diff_ids == [archives.digest(archive)]
    assert image.config.config.cmd == ["/bin/sh", "-c", "x"]
    assert (image.config.comment, image.repo_tags, image.size) == ("hello", ["app:1"], 2)


def test_the_archive_is_kept_as_it_came(place: Any, archives: Any) -> None:
    archive = archives.tar({"file": b"x" * 100_000})
    packed = gzip.compress(archive)
    importer.import_archive(place.store, wanted(), io.BytesIO(packed))
    blob = place.store.blob_of(archives.digest(archive))
    assert (blob.digest, blob.compression, blob.size) == (archives.digest(packed), "gzip", len(packed))
    assert b"".join(place.store.content.chunks(blob.digest)) == packed


def test_the_same_twice_is_one_layer(place: Any, archives: Any) -> None:
    archive = archives.tar({"file": b"x"})
    for packed in (archive, gzip.compress(archive)):
        importer.import_archive(place.store, wanted(), io.BytesIO(packed))
    assert len(place.layers.layers()) == len(place.store.content.digests()) == 1


@pytest.mark.parametrize("archive", [b"garbage" * 100, b"", b"\x1f\x8b\x08garbage", gzip.compress(b"no tar" * 200)])
def test_what_is_no_archive_leaves_nothing(place: Any, archive: bytes) -> None:
    with pytest.raises(InvalidParameter):
        importer.import_archive(place.store, wanted(), io.BytesIO(archive))
    assert place.empty()


def test_a_client_that_leaves_leaves_nothing(place: Any, archives: Any) -> None:
    class Leaves(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(512)
            if not data:
                raise ConnectionResetError("gone")
            return data

    with pytest.raises(ConnectionResetError):
        importer.import_archive(place.store, wanted(), Leaves(archives.tar({"file": b"x" * 9000})[:4096]))
    assert place.empty()


def test_a_name_that_is_taken_leaves_nothing(place: Any, archives: Any) -> None:
    with pytest.raises(Conflict):
        importer.import_archive(
            place.store, wanted(reference=references.parse("host:latest")), io.BytesIO(archives.tar({"f": b""}))
        )
    assert place.empty()


def test_bad_changes_are_seen_before_the_archive(place: Any) -> None:
    archive = io.BytesIO(b"garbage" * 1000)
    with pytest.raises(InvalidParameter, match="from is not a valid change command"):
        importer.import_archive(place.store, wanted(changes=["FROM x"]), archive)
    assert archive.tell() == 0


def test_only_linux() -> None:
    with pytest.raises(InvalidParameter, match="operating system is not supported"):
        Import(platform=Platform("windows", "amd64"), message="")


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A web server on loopback: its address and the directory that it serves."""
    directory = tmp_path_factory.mktemp("web")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd")
                self.end_headers()
                return
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", directory
    server.shutdown()
    thread.join()
    server.server_close()


def test_from_an_address(place: Any, archives: Any, web: tuple[str, Path]) -> None:
    address, directory = web
    (directory / "root.tar").write_bytes(archives.tar({"file": b"x"}))
    with download.open_url(importer.complete_url(f"{address}/root.tar")) as archive:
        image = importer.import_archive(place.store, wanted(), archive)
    assert image.size == 1


@pytest.mark.parametrize(
    ("path", "words"), [("missing", "Got HTTP status code >= 400: 404"), ("elsewhere", "file:///etc/passwd")]
)
def test_addresses_that_give_nothing(web: tuple[str, Path], path: str, words: str) -> None:
    with pytest.raises(KnarrError, match=words), download.open_url(f"http://{web[0]}/{path}"):
        pass


def test_nobody_there() -> None:
    with pytest.raises(KnarrError, match="Connection refused"), download.open_url("http://127.0.0.1:1/x"):
        pass


def test_other_schemes_are_refused() -> None:
    with pytest.raises(InvalidParameter, match='unsupported protocol scheme "file"'):
        importer.complete_url("file:///etc/passwd")
    with pytest.raises(InvalidParameter, match="no Host in request URL"):
        importer.complete_url("")
