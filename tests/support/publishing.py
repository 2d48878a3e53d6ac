"""Images put into a registry by hand, byte for byte as a test wants them."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker.distribution"
MANIFEST, INDEX, CONFIG = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json", f"{OCI}.config.v1+json"
LAYER = f"{OCI}.layer.v1.tar+gzip"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


@dataclass
class Several:
    """An index as it was stored: its bytes, its images' manifests, and its attestations' digests, by processor."""

    index: bytes
    manifests: dict[str, bytes]
    attestations: dict[str, str]


class Shelf:
    """One repository of a registry at `address` (host:port)."""

    def __init__(self, address: str, path: str) -> None:
        self.name = f"{address}/{path}"
        self._address = address
        self._path = path

    def blob(self, data: bytes) -> str:
        """Store a blob."""
        where = self._request("POST", f"/v2/{self._path}/blobs/uploads/", b"")["Location"]
        separator = "&" if "?" in where else "?"
        target = where[where.index("/v2/") :] + f"{separator}digest={digest(data)}"
        self._request("PUT", target, data, {"Content-Type": "application/octet-stream"})
        return digest(data)

    def manifest(self, document: bytes | dict[str, Any], *tags: str, media_type: str = MANIFEST) -> bytes:
        """Store a manifest or an index under its digest and under tags; its bytes."""
        data = document if isinstance(document, bytes) else json.dumps(document, indent=2).encode()
        for name in (digest(data), *tags):
            self._request("PUT", f"/v2/{self._path}/manifests/{name}", data, {"Content-Type": media_type})
        return data

    def image(
        self,
        *layers: bytes,
        tags: tuple[str, ...] = (),
        pack: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1, mtime=0),
        media_type: str = LAYER,
        **config: Any,
    ) -> bytes:
        """Store an image of layer archives; the bytes of its manifest."""
        made = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": {"Cmd": ["sh"]},
            **config,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
        raw = json.dumps(made, indent=1).encode()
        self.blob(raw)
        packed = [pack(layer) for layer in layers]
        for data in packed:
            self.blob(data)
        return self.manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(raw, CONFIG),
                "layers": [descriptor(data, media_type) for data in packed],
            },
            *tags,
        )

    def attestation(self, subject: bytes, statement: bytes) -> dict[str, Any]:
        """Store a statement about an image's manifest as BuildKit does; the row for the index."""
        made = {
            "architecture": "unknown",
            "os": "unknown",
            "rootfs": {"type": "layers", "diff_ids": [digest(statement)]},
        }
        raw = json.dumps(made).encode()
        for data in (raw, statement):
            self.blob(data)
        annotations = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
        layer = descriptor(statement, "application/vnd.in-toto+json", annotations=annotations)
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(raw, CONFIG), "layers": [layer]}
        about = {"vnd.docker.reference.digest": digest(subject), "vnd.docker.reference.type": "attestation-manifest"}
        unknown = {"architecture": "unknown", "os": "unknown"}
        return descriptor(self.manifest(document), MANIFEST, annotations=about, platform=unknown)

    def platforms(self, layers: dict[str, bytes], *tags: str, attested: bool = True) -> Several:
        """Store an index of one image for each processor, attested or not."""
        several = Several(b"", {}, {})
        rows = []
        for architecture, layer in layers.items():
            manifest = self.image(layer, architecture=architecture)
            platform = {"architecture": architecture, "os": "linux"}
            rows.append(descriptor(manifest, MANIFEST, platform=platform))
            several.manifests[architecture] = manifest
            if attested:
                rows.append(self.attestation(manifest, json.dumps({"about": architecture}).encode()))
                several.attestations[architecture] = rows[-1]["digest"]
        several.index = self.index(*rows, tags=tags)
        return several

    def artifact(self, *contents: bytes, tags: tuple[str, ...] = (), kind: str = "application/vnd.test.thing") -> bytes:
        """Store something that is no image; the bytes of its manifest."""
        for data in (b"{}", *contents):
            self.blob(data)
        return self.manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": kind,
                "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
                "layers": [descriptor(data, "text/plain") for data in contents],
            },
            *tags,
        )

    def read(self, name: str) -> bytes:
        """The manifest or index of a tag or digest, as the registry has it."""
        accepted = {"Accept": f"{MANIFEST}, {INDEX}"}
        return self._request("GET", f"/v2/{self._path}/manifests/{name}", b"", accepted, body_wanted=True)

    def index(self, *rows: dict[str, Any], tags: tuple[str, ...] = ()) -> bytes:
        """Store an index."""
        return self.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(rows)}, *tags, media_type=INDEX)

    def _request(
        self, method: str, path: str, body: bytes, headers: dict[str, str] | None = None, *, body_wanted: bool = False
    ) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, (response.status, content)
            return content if body_wanted else response.headers
        finally:
            connection.close()
