"""Registries that answer nonsense: a pull says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import publishing
import pytest
import registries
from archive_of import archive_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publishing import descriptor, digest
from registries import Proxy
from registry_bench import RegistryBench

from knarr.errors import KnarrError

LAYER = archive_of({"a": b"1"})
PACKED = gzip.compress(LAYER, mtime=0)
CONFIG = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(LAYER)]}}
TYPES = [
    publishing.MANIFEST,
    publishing.INDEX,
    "application/json",
    "",
    "text/html",
    f"{publishing.DOCKER}.manifest.v2+json",
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([digest(b""), *TYPES]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def liar() -> Iterator[Proxy]:
    """A registry that gives what it is told to give."""
    proxy = Proxy("")
    yield proxy
    proxy.close()


class Answers:
    """What the liar has, by path."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        proxy.routes.clear()
        self.put("/v2/", b"{}")

    def put(self, path: str, body: bytes, media_type: str = "application/octet-stream") -> None:
        def serve(handler: BaseHTTPRequestHandler, _: bytes) -> None:
            registries.answer(handler, 200, body, {"Content-Type": media_type})

        self._proxy.routes[path] = serve

    def blob(self, body: bytes) -> None:
        self.put(f"/v2/a/b/blobs/{digest(body)}", body)


def mutated(document: dict[str, Any], path: list[int], value: Any) -> Any:
    """The document with another value at some place in it; `path` chooses the way down."""
    place: Any = document
    for step in path[:-1]:
        inner = list(place.values()) if isinstance(place, dict) else place
        if not inner or not isinstance(inner[step % len(inner)], dict | list):
            break
        place = inner[step % len(inner)]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if keys:
        place[keys[path[-1] % len(keys)]] = value
    return document


def refused_or_pulled(bench: RegistryBench, liar: Proxy) -> None:
    """Anything else than a KnarrError is a defect."""
    with suppress(KnarrError):
        image = bench.pull(f"{liar.name}/a/b:1")
        bench.store.delete(image.id)
    assert not bench.store.layers.layers()
    bench.downloads.prune()


fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ways = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@pytest.fixture
def bench(store: Any) -> Iterator[RegistryBench]:
    bench = RegistryBench(store, attempts=1)
    yield bench
    bench.close()


@fuzzed
@given(body=st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()), kind=st.sampled_from(TYPES))
def test_any_bytes_for_a_manifest(bench: RegistryBench, liar: Proxy, body: bytes, kind: str) -> None:
    Answers(liar).put("/v2/a/b/manifests/1", body, kind)
    refused_or_pulled(bench, liar)


@fuzzed
@given(way=ways, value=values, target=st.sampled_from(["manifest", "config", "index"]))
def test_something_else_somewhere(bench: RegistryBench, liar: Proxy, way: list[int], value: Any, target: str) -> None:
    answers = Answers(liar)
    config = json.loads(json.dumps(CONFIG))
    config = mutated(config, way, value) if target == "config" else config
    raw = json.dumps(config).encode()
    manifest: Any = {
        "schemaVersion": 2,
        "mediaType": publishing.MANIFEST,
        "config": descriptor(raw, publishing.CONFIG),
        "layers": [descriptor(PACKED, publishing.LAYER)],
    }
    manifest = mutated(manifest, way, value) if target == "manifest" else manifest
    document = json.dumps(manifest).encode()
    index: Any = {"schemaVersion": 2, "manifests": [descriptor(document, publishing.MANIFEST)]}
    index = mutated(index, way, value) if target == "index" else index
    for blob in (raw, PACKED):
        answers.blob(blob)
    answers.put(f"/v2/a/b/manifests/{digest(document)}", document, publishing.MANIFEST)
    answers.put("/v2/a/b/manifests/1", json.dumps(index).encode(), publishing.INDEX)
    refused_or_pulled(bench, liar)


@fuzzed
@given(packed=st.binary(max_size=300) | st.integers(0, len(PACKED) - 1).map(lambda cut: PACKED[:cut]))
def test_any_bytes_for_a_layer(bench: RegistryBench, liar: Proxy, packed: bytes) -> None:
    answers = Answers(liar)
    raw = json.dumps(CONFIG).encode()
    manifest = {
        "schemaVersion": 2,
        "config": descriptor(raw, publishing.CONFIG),
        "layers": [descriptor(packed, publishing.LAYER)],
    }
    for blob in (raw, packed):
        answers.blob(blob)
    answers.put("/v2/a/b/manifests/1", json.dumps(manifest).encode(), publishing.MANIFEST)
    refused_or_pulled(bench, liar)


@pytest.mark.parametrize(
    "headers",
    [
        {"WWW-Authenticate": "Bearer"},
        {"WWW-Authenticate": 'Bearer realm="nonsense"'},
        {"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'},
        {"WWW-Authenticate": 'Bearer realm="http://a:99999/"'},
        {"WWW-Authenticate": "Basic"},
        {},
    ],
)
def test_challenges_that_cannot_be_met(bench: RegistryBench, liar: Proxy, headers: dict[str, str]) -> None:
    liar.fault("GET", status=401, headers=headers, times=9)
    with pytest.raises(KnarrError, match=r"unauthorized|token server|no basic auth"):
        bench.pull(f"{liar.name}/a/b:1")


@pytest.mark.parametrize("token", ["a\nb", "\u20ac", "", "a" * 100_000])
def test_tokens_that_cannot_be_sent(bench: RegistryBench, liar: Proxy, token: str) -> None:
    challenge = f'Bearer realm="http://{liar.name}/token"'
    liar.routes["/token"] = lambda handler, _: registries.answer(handler, 200, json.dumps({"token": token}).encode())
    liar.fault("GET /v2/", status=401, headers={"WWW-Authenticate": challenge}, times=9)
    with pytest.raises(KnarrError):
        bench.pull(f"{liar.name}/a/b:1")


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/x", "//", "/v2/a/b/manifests/1", "http://a:99999/", "http://[::1/",
        "http://[z]/", "http://a b/", "http://\x00/", f"http://{'a' * 300}.invalid/", "http:///x", "http://%zz/",
    ],
)  # fmt: skip
def test_redirections_that_lead_nowhere(bench: RegistryBench, liar: Proxy, target: str) -> None:
    Answers(liar)
    liar.fault("GET .*manifests", status=302, headers={"Location": target}, times=99)
    with pytest.raises(KnarrError):
        bench.pull(f"{liar.name}/a/b:1")
