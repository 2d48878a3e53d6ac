"""Pulling from a real registry, through a proxy that makes things go wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import publishing
import pytest
import registries
import zstandard
from archive_of import archive_of
from publishing import Shelf, descriptor, digest, noise
from registries import Proxy
from registry_bench import Background, RegistryBench, Said

from knarr.errors import InvalidParameter, KnarrError, NotFound
from knarr.images.cancellation import Cancellation, Cancelled
from knarr.images.platforms import Platform
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.failures import Unreachable
from knarr.images.store import ImageStore

BLOB = "GET .*/blobs/"


@pytest.fixture
def shelf(registry: Proxy, request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """A repository of the test's own; what was asked of the registry is counted from here on."""
    yield Shelf(registry.name, "t/" + request.node.name.partition("[")[0].lower().strip("_"))
    registry.faults.clear()


def big_layer(archives: Any, seed: int = 1, size: int = 3_000_000) -> bytes:
    content: bytes = archives.tar({"big": noise(size, seed)})
    return content


def blobs(registry: Proxy, shelf: Shelf, data: bytes) -> list[Any]:
    """The requests for a blob."""
    return registry.requests(f"GET .*{shelf.name.partition('/')[2]}/blobs/{digest(data)}")


def test_by_tag(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    lower, upper = archives.tar({"a": b"1"}), archives.tar({"b": b"22"})
    manifest = shelf.image(lower, upper, tags=("1",))
    image = bench.pull(f"{shelf.name}:1")
    assert image.repo_tags == [f"{shelf.name}:1"]
    assert image.repo_digests == [f"{shelf.name}@{digest(manifest)}"]
    assert image.size == 3
    ids = [digest(gzip.compress(layer, 1, mtime=0))[7:19] for layer in (lower, upper)]
    assert bench.statuses()[:3] == [
        f"1: Pulling from {shelf.name.partition('/')[2]}",
        f"{ids[0]}: Pulling fs layer",
        f"{ids[1]}: Pulling fs layer",
    ]
    assert [f"{id}: Pull complete" for id in ids] == [one for one in bench.statuses() if "Pull complete" in one]
    assert bench.statuses()[-1] == f"Digest: {digest(manifest)}"


def test_by_digest(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    manifest = shelf.image(archives.tar({"a": b"1"}))
    image = bench.pull(f"{shelf.name}@{digest(manifest)}")
    assert (image.repo_tags, image.repo_digests) == ([], [f"{shelf.name}@{digest(manifest)}"])


def test_what_is_there_is_not_fetched(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    base, one, two = (archives.tar({name: name.encode()}) for name in ("base", "one", "two"))
    shelf.image(base, one, tags=("1",))
    shelf.image(base, two, tags=("2",))
    bench.pull(f"{shelf.name}:1")
    bench.pull(f"{shelf.name}:2")
    bench.pull(f"{shelf.name}:1")
    assert len(blobs(registry, shelf, gzip.compress(base, 1, mtime=0))) == 1
    assert len(blobs(registry, shelf, gzip.compress(one, 1, mtime=0))) == 1
    assert f"{digest(gzip.compress(base, 1, mtime=0))[7:19]}: Already exists" in bench.statuses()


def test_a_layer_on_another_base_is_not_fetched_again(
    bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any
) -> None:
    one, two, shared = (archives.tar({name: name.encode()}) for name in ("one", "two", "shared"))
    shelf.image(one, shared, tags=("1",))
    shelf.image(two, shared, tags=("2",))
    bench.pull(f"{shelf.name}:1")
    bench.pull(f"{shelf.name}:2")
    assert len(blobs(registry, shelf, gzip.compress(shared, 1, mtime=0))) == 1


def test_the_same_layer_twice(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = archives.tar({"a": b"1"})
    shelf.image(layer, layer, tags=("1",))
    assert len(bench.pull(f"{shelf.name}:1").config.rootfs.diff_ids) == 2
    assert len(blobs(registry, shelf, gzip.compress(layer, 1, mtime=0))) == 1


def chunked_zstd(data: bytes) -> bytes:
    """As zstd:chunked has it: several frames, and skippable ones behind them."""
    middle = len(data) // 2
    skippable = b"\x50\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"private"
    return zstandard.compress(data[:middle]) + zstandard.compress(data[middle:]) + skippable


def stargz(data: bytes) -> bytes:
    """As estargz has it: several gzip members."""
    return b"".join(gzip.compress(data[at : at + 700]) for at in range(0, len(data), 700))


@pytest.mark.parametrize("pack", [bytes, zstandard.compress, chunked_zstd, stargz])
def test_compressions(bench: RegistryBench, shelf: Shelf, archives: Any, pack: Callable[[bytes], bytes]) -> None:
    layer = archives.tar({"a": noise(5000)})
    shelf.image(layer, tags=("1",), pack=pack)
    assert bench.pull(f"{shelf.name}:1").size == 5000


# -- platforms


@pytest.fixture(scope="module")
def many(registry: Proxy) -> tuple[str, bytes]:
    """The name of an image for many platforms, and its index."""
    shelf = Shelf(registry.name, "t/many")
    rows = []
    for os, architecture, variant, version in (
        ("linux", "amd64", "", ""),
        ("linux", "arm64", "v8", ""),
        ("linux", "arm", "v6", ""),
        ("linux", "arm", "v7", ""),
        ("windows", "amd64", "", "10.0.17763.100"),
        ("windows", "amd64", "", "10.0.20348.9"),
        ("windows", "amd64", "", "10.0.20348.200"),
    ):
        about = {"os": os, "architecture": architecture, "variant": variant, "os.version": version}
        about = {name: value for name, value in about.items() if value}
        layer = archive_of({"Files/f": f"{about}".encode()})
        rows.append(descriptor(shelf.image(layer, **about), publishing.MANIFEST, platform=about))
    unknown = {"os": "unknown", "architecture": "unknown"}
    statement = shelf.image(archive_of({"statement": b""}), os="unknown", architecture="unknown")
    note = {"vnd.docker.reference.type": "attestation-manifest"}
    rows.insert(0, descriptor(statement, publishing.MANIFEST, platform=unknown, annotations=note))
    return f"{shelf.name}:1", shelf.index(*rows, tags=("1",))


@pytest.mark.parametrize(
    ("wanted", "variant", "version"),
    [
        (Platform("linux", "arm64"), "v8", ""),
        (Platform("linux", "arm", "v7"), "v7", ""),
        (Platform("linux", "arm", "v6"), "v6", ""),
        (Platform("windows", "amd64"), "", "10.0.20348.200"),
        (Platform("windows", "amd64", "", "10.0.17763"), "", "10.0.17763.100"),
    ],
)
def test_an_index(bench: RegistryBench, many: tuple[str, bytes], wanted: Platform, variant: str, version: str) -> None:
    name, index = many
    image = bench.pull(name, platform=wanted)
    made = image.config
    assert (made.os, made.architecture, made.variant, made.os_version) == (*wanted[:2], variant, version)
    assert image.repo_digests == [f"{name[:-2]}@{digest(index)}"]


def test_no_such_platform(bench: RegistryBench, many: tuple[str, bytes], shelf: Shelf, archives: Any) -> None:
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        bench.pull(many[0], platform=Platform("linux", "s390x"))
    shelf.image(archives.tar({"a": b"1"}), tags=("2",))
    with pytest.raises(
        NotFound, match="does not match the specified platform: wanted linux/arm64, actual: linux/amd64"
    ):
        bench.pull(f"{shelf.name}:2", platform=Platform("linux", "arm64"))


# -- what registries have that is no image


def test_no_such_manifest(bench: RegistryBench, shelf: Shelf, archives: Any) -> None:
    shelf.image(archives.tar({"a": b"1"}), tags=("1",))
    with pytest.raises(NotFound, match=f"manifest for {shelf.name}:2 not found: manifest unknown: "):
        bench.pull(f"{shelf.name}:2")


def test_an_artifact(bench: RegistryBench, shelf: Shelf) -> None:
    for blob in (b"{}", b"chart"):
        shelf.blob(blob)
    config = descriptor(b"{}", "application/vnd.cncf.helm.config.v1+json")
    layers = [descriptor(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")]
    document = {"schemaVersion": 2, "mediaType": publishing.MANIFEST, "config": config, "layers": layers}
    manifest = shelf.manifest(document, "1")
    artifact = bench.pull(f"{shelf.name}:1")
    assert artifact.artifact == "application/vnd.cncf.helm.config.v1+json"
    assert (artifact.id, artifact.size) == (digest(manifest), len(b"{}" + b"chart"))
    assert artifact.repo_tags == [f"{shelf.name}:1"]


def test_schema_1(bench: RegistryBench, shelf: Shelf, registry: Proxy) -> None:
    kind = {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}
    registry.fault("GET .*/manifests/", status=200, headers=kind, body=b'{"schemaVersion": 1}')
    with pytest.raises(InvalidParameter, match="schema 1 support has been removed"):
        bench.pull(f"{shelf.name}:1")


def test_nobody_there(bench: RegistryBench) -> None:
    with pytest.raises(Unreachable, match=r'Get "http://127.0.0.1:1/v2/": dial tcp .*connect: connection refused'):
        bench.pull("127.0.0.1:1/a:b")


# -- things that go wrong on the way


def test_a_cut_connection_is_taken_up(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = big_layer(archives)
    packed = gzip.compress(layer, 1, mtime=0)
    shelf.image(layer, tags=("1",))
    registry.fault(BLOB + digest(packed), cut=1_000_000)
    registry.fault(BLOB + digest(packed), cut=500_000)
    bench.pull(f"{shelf.name}:1")
    asked = [seen.headers.get("Range") for seen in blobs(registry, shelf, packed)]
    assert asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_registry_without_ranges(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = big_layer(archives)
    packed = gzip.compress(layer, 1, mtime=0)
    shelf.image(layer, tags=("1",))
    registry.fault(BLOB + digest(packed), cut=1_000_000)
    registry.fault(BLOB + digest(packed), status=200, body=packed)
    assert bench.pull(f"{shelf.name}:1").size == 3_000_000


def test_wrong_bytes(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any, place: Any) -> None:
    layer = big_layer(archives)
    packed = gzip.compress(layer, 1, mtime=0)
    shelf.image(layer, tags=("1",))
    registry.fault(BLOB + digest(packed), spoil=2_000_000)
    with pytest.raises(InvalidParameter, match=r"verification failed for digest|wrong diff id|corrupt gzip"):
        bench.pull(f"{shelf.name}:1")
    assert not place.layers.layers()
    assert bench.pull(f"{shelf.name}:1").size == 3_000_000


def test_wrong_bytes_before_a_cut_are_fetched_again(
    bench: RegistryBench, shelf: Shelf, registry: Proxy, store: ImageStore, archives: Any
) -> None:
    layer = archives.tar({"big": noise(3_000_000)})
    packed = bytes(layer)
    shelf.image(layer, tags=("1",), pack=bytes)
    (store.content.partial / digest(packed)[7:]).write_bytes(packed[:1_000_000] + b"x" * 500_000)
    assert bench.pull(f"{shelf.name}:1").size == 3_000_000
    assert [seen.headers.get("Range") for seen in blobs(registry, shelf, packed)] == ["bytes=1500000-", None]


_NEVER = "1 Jan 99999999999999999999 00:00:00 +0000"


@pytest.mark.parametrize(("status", "after"), [(429, "0"), (500, "Mon, 01 Jan 2024 00:00:00 GMT"), (503, _NEVER)])
def test_a_registry_that_asks_for_patience(
    bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any, status: int, after: str
) -> None:
    shelf.image(archives.tar({"a": b"1"}), tags=("1",))
    for pattern in ("GET .*/manifests/", BLOB, "GET /v2/$"):
        registry.fault(pattern, status=status, headers={"Retry-After": after}, times=1 if after == _NEVER else 2)
    assert bench.pull(f"{shelf.name}:1").size == 1


def test_a_manifest_with_another_digest(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    manifest = shelf.image(archives.tar({"a": b"1"}))
    registry.fault("GET .*/manifests/", spoil=30)
    with pytest.raises(KnarrError, match="manifest verification failed for digest"):
        bench.pull(f"{shelf.name}@{digest(manifest)}")


def test_a_blob_elsewhere_gets_no_credentials(
    store: ImageStore, shelf: Shelf, registry: Proxy, archives: Any, tmp_path: Path
) -> None:
    layer = archives.tar({"a": b"1"})
    packed = gzip.compress(layer, 1, mtime=0)
    shelf.image(layer, tags=("1",))
    with registries.running(tmp_path / "other") as other:
        other.fault("GET /there", status=200, body=packed)
        where = {"Location": f"http://{other.name}/there"}
        registry.fault(BLOB + digest(packed), status=307, headers=where)
        registry.fault("GET /v2/$", status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        bench = RegistryBench(store)
        bench.pull(f"{shelf.name}:1", credentials=Credentials(user_name="u", password="p"))
        bench.close()
        assert [seen.headers.get("Authorization") for seen in other.seen] == [None]
    assert all("Authorization" in seen.headers for seen in blobs(registry, shelf, packed))


# -- pulls that end early, pulls at once


def test_a_cancelled_pull_keeps_what_came(
    bench: RegistryBench, shelf: Shelf, registry: Proxy, place: Any, archives: Any
) -> None:
    small, layer = archives.tar({"s": b"1"}), big_layer(archives)
    packed = gzip.compress(layer, 1, mtime=0)
    shelf.image(small, layer, tags=("1",))
    fault = registry.fault(BLOB + digest(packed), hold=1_000_000)
    cancellation = Cancellation()
    pull = Background(lambda: bench.pull(f"{shelf.name}:1", cancellation=cancellation))
    assert fault.held.wait(30)
    bench.said.wait_for(lambda one: one["status"] == "Download complete")
    name = digest(packed)[7:19]
    bench.said.wait_for(lambda one: one.get("id") == name and bool(one.get("progressDetail", {}).get("current")))
    cancellation.cancel()
    with pytest.raises(Cancelled):
        pull.wait()
    bench.close()
    assert not place.layers.layers()
    again = RegistryBench(place.reopen())
    again.pull(f"{shelf.name}:1")
    again.close()  # its threads have ended
    (first, second) = blobs(registry, shelf, packed)
    assert first.headers.get("Range") is None and second.headers["Range"].startswith("bytes=")
    assert len(blobs(registry, shelf, gzip.compress(small, 1, mtime=0))) == 1
    assert list(place.store.content.partial.iterdir()) == []


def test_two_pulls_share_a_layer(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = big_layer(archives)
    packed = gzip.compress(layer, 1, mtime=0)
    shelf.image(layer, tags=("1",))
    shelf.image(layer, archives.tar({"more": b"1"}), tags=("2",))
    fault = registry.fault(BLOB + digest(packed), hold=1_000_000)
    pulls = [Background(lambda: bench.pull(f"{shelf.name}:1"))]
    assert fault.held.wait(30)
    pulls.append(Background(lambda: bench.pull(f"{shelf.name}:2")))
    fault.go_on.set()
    assert [pull.wait().size for pull in pulls] == [3_000_000, 3_000_001]
    assert len(blobs(registry, shelf, packed)) == 1


def test_one_of_two_pulls_leaves(bench: RegistryBench, shelf: Shelf, registry: Proxy, archives: Any) -> None:
    layer = big_layer(archives)
    packed = gzip.compress(layer, 1, mtime=0)
    shelf.image(layer, tags=("1",))
    shelf.image(layer, archives.tar({"more": b"1"}), tags=("2",))
    fault = registry.fault(BLOB + digest(packed), hold=1_000_000)
    cancellation = Cancellation()
    first = Background(lambda: bench.pull(f"{shelf.name}:1", cancellation=cancellation))
    assert fault.held.wait(30)
    said = Said()
    second = Background(lambda: bench.pull(f"{shelf.name}:2", said=said))
    said.wait_for(lambda message: message["status"] == "Downloading")
    cancellation.cancel()
    with pytest.raises(Cancelled):
        first.wait()
    fault.go_on.set()
    assert second.wait().size == 3_000_001
