"""A repository in a registry: its manifests, blobs and tags. What pulls, pushes and build caches are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from msgspec import Struct

from knarr.errors import InvalidParameter, KnarrError
from knarr.images import layouts
from knarr.images.cancellation import Cancellation
from knarr.images.config import digest_of, is_digest
from knarr.images.layouts import Descriptor
from knarr.images.references import Reference
from knarr.images.registry import foreign, lookup, uploads
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.endpoint import PULL, PUSH, RESOLVE, Endpoint
from knarr.images.registry.failures import BLOB_UNKNOWN, MANIFEST_UNKNOWN, Refused, Unreachable
from knarr.images.registry.host import Host
from knarr.images.registry.transport import Answer, Request, Transport

_T = TypeVar("_T")
_MAX_DOCUMENT = 16 << 20
_MAX_TAGS = 100_000
_ACCEPT = ", ".join((*layouts.MANIFEST_TYPES, *layouts.INDEX_TYPES, *layouts.SCHEMA_1_TYPES, "*/*"))


class Document(Struct, frozen=True):
    """A manifest or an index, byte for byte; the digest is that of the bytes."""

    media_type: str
    digest: str
    data: bytes


class BlobStream:
    """A blob's bytes from `offset` on, not verified. A context manager."""

    def __init__(self, answer: Answer, offset: int) -> None:
        self.offset = offset
        self.read = answer.read
        self.close = answer.close

    def __enter__(self) -> BlobStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    transport: Transport,
    reference: Reference,
    credentials: Credentials,
    cancellation: Cancellation,
    *,
    actions: str = "pull",
    others: Iterable[str] = (),
    insecure: bool = False,
) -> Repository:
    """The repository of a name. `actions` is what will be done ("pull" or "pull,push"); blobs may be mounted from the
    repositories `others` of the same registry, which `insecure` makes one of the insecure ones. Nothing is sent yet.
    Raises InvalidParameter (certs.d)."""
    capability = PUSH if "push" in actions else PULL
    settings = transport.settings
    if insecure:
        settings = msgspec.structs.replace(settings, insecure=(*settings.insecure, reference.domain))
    endpoints = [one for one in lookup.find(reference.domain, settings) if {capability, RESOLVE} & one.capabilities]
    scopes = [f"repository:{reference.path}:{actions}", *(f"repository:{path}:pull" for path in others)]
    hosts = [Host(transport, one, credentials) for one in endpoints if capability == PULL or not one.mirror]
    if not hosts:
        raise InvalidParameter(f"hosts.toml names no host of {reference.domain} that can {capability}")
    return Repository(transport, reference, hosts, scopes, cancellation)


class Repository:
    """Used from several threads. All methods block, and raise Unreachable, Refused and Cancelled."""

    def __init__(
        self,
        transport: Transport,
        reference: Reference,
        hosts: list[Host],
        scopes: list[str],
        cancellation: Cancellation,
    ) -> None:
        self.reference = reference
        self._transport = transport
        self._hosts = hosts
        self._scopes = scopes
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._answering: dict[int, bool] = {}  # by the host's place: whether it is a registry

    def for_another(self, cancellation: Cancellation) -> Repository:
        """The same, for work that is cancelled on its own."""
        twin = Repository(self._transport, self.reference, self._hosts, self._scopes, cancellation)
        twin._answering = self._answering
        return twin

    # -- reading

    def manifest(self, what: str) -> Document:
        """The manifest or index that a tag or digest names, verified."""

        def get(host: Host) -> Document:
            request = Request(method="GET", url=self._url(host, "manifests", what), headers={"Accept": _ACCEPT})
            with self._send(host, request) as answer:
                data = answer.content(_MAX_DOCUMENT)
                return _document(what, answer, data)

        return self._try_hosts(RESOLVE, get)

    def describe(self, what: str) -> Descriptor | None:
        """The descriptor of what a tag or digest names, without fetching it; None if there is no such thing."""

        def head(host: Host) -> Descriptor | None:
            request = Request(method="HEAD", url=self._url(host, "manifests", what), headers={"Accept": _ACCEPT})
            try:
                with self._send(host, request) as answer:
                    kind = answer.headers.get("Content-Type", "").partition(";")[0]
                    digest = answer.headers.get("Docker-Content-Digest", "")
                    return Descriptor(kind, digest, foreign.number(answer.headers.get("Content-Length", "")) or 0)
            except Refused as error:
                if error.status == 404:
                    return None
                raise

        return self._try_hosts(RESOLVE, head)

    def open_blob(self, digest: str, offset: int = 0, urls: Iterable[str] = ()) -> BlobStream:
        """A blob from `offset` on, or from an earlier place where the registry cannot do that.

        `urls` is where it may be found outside of the registry, which does not have all blobs of Windows images.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}

        def get(host: Host) -> BlobStream:
            request = Request(method="GET", url=self._url(host, "blobs", digest), headers=headers)
            return _stream(self._send(host, request))

        try:
            return self._try_hosts(PULL, get)
        except Refused as error:
            for url in urls:
                request = Request(method="GET", url=url, headers=headers)
                try:
                    answer = self._transport.send(Endpoint(url=url), request, self._cancellation)
                except Unreachable:
                    continue
                if answer.status < 400:
                    return _stream(answer)
                answer.close()
            raise error

    def fetch(self, descriptor: Descriptor) -> bytes:
        """A small blob, verified. Raises Refused if it is another one."""
        if descriptor.size > _MAX_DOCUMENT:
            raise Refused(f"blob {descriptor.digest} is too large ({descriptor.size} bytes)")
        data = b""
        with self.open_blob(descriptor.digest) as stream:
            while len(data) <= descriptor.size and (piece := stream.read(descriptor.size + 1 - len(data))):
                data += piece
        if len(data) != descriptor.size or digest_of(data) != descriptor.digest:
            raise Refused(f"blob verification failed for digest {descriptor.digest}")
        return data

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has a blob."""

        def head(host: Host) -> bool:
            try:
                with self._send(host, Request(method="HEAD", url=self._url(host, "blobs", digest))):
                    return True
            except Refused as error:
                if error.status == 404:
                    return False
                raise

        return self._try_hosts(PULL, head)

    def tags(self) -> list[str]:
        """All tags, in the registry's order."""
        return self._try_hosts(RESOLVE, self._tags)

    def _tags(self, host: Host) -> list[str]:
        url = self._url(host, "tags", "list")
        found: list[str] = []
        while url and len(found) < _MAX_TAGS:
            with self._send(host, Request(method="GET", url=url)) as answer:
                page = layouts.decode(answer.content(_MAX_DOCUMENT), _TagList, "list of tags").tags or []
                found += page
                url = _next_page(url, answer.headers.get("Link", "")) if page else ""
        return found

    # -- writing

    def upload_blob(self, blob: uploads.Blob, mount_from: str = "") -> str:
        """Bring a blob into the repository; `mount_from` is a repository of the registry that may have it.

        Returns that repository if the registry took it from there, else "".
        """

        def upload(host: Host) -> str:
            sender = uploads.Sender(lambda request: self._send(host, request), self._cancellation)
            return sender.upload(self._url(host, "blobs", "uploads") + "/", blob, mount_from)

        return self._try_hosts(PUSH, upload)

    def put_manifest(self, what: str, media_type: str, data: bytes) -> str:
        """Store a manifest or index under a tag or its digest; its digest."""

        def put(host: Host) -> str:
            request = Request(
                method="PUT",
                url=self._url(host, "manifests", what),
                headers={"Content-Type": media_type},
                body=lambda: data,
            )
            with self._send(host, request):
                return digest_of(data)

        return self._try_hosts(PUSH, put)

    # -- inside

    def _url(self, host: Host, *parts: str) -> str:
        return host.url(self.reference.path, *parts)

    def _send(self, host: Host, request: Request) -> Answer:
        """An answer that is no error. Raises Refused."""
        answer = host.send(request, self._scopes, self._cancellation)
        if answer.status < 400:
            return answer
        with answer:
            failure = answer.failure(request.method)
        if request.method == "HEAD" and not failure.code and failure.status == 404:
            failure.code = MANIFEST_UNKNOWN if "/manifests/" in request.url else BLOB_UNKNOWN
        raise failure

    def _try_hosts(self, capability: str, action: Callable[[Host], _T]) -> _T:
        """The result of the first host that gives one: what fails at a mirror is tried at the next host."""
        last: KnarrError | None = None
        for place, host in enumerate(self._hosts):
            if capability not in host.endpoint.capabilities:
                continue
            try:
                self._check(place, host)
                return action(host)
            except (Unreachable, Refused) as error:
                last = error
                if self._answering.get(place) and not host.endpoint.mirror:
                    break  # the registry itself has spoken
        raise last or Unreachable(f"no host of {self.reference.domain} is there for {capability}")

    def _check(self, place: int, host: Host) -> None:
        with self._lock:
            if self._answering.get(place) is None:
                self._answering[place] = False
                host.ping(self._cancellation)
                self._answering[place] = True
            elif not self._answering[place]:
                raise Unreachable(f'Get "{host.endpoint.url}/": not reachable')


class _TagList(Struct):
    tags: list[str] | None = None


class _Typed(Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    manifests: msgspec.Raw | None = None


def _document(what: str, answer: Answer, data: bytes) -> Document:
    digest = digest_of(data)
    if ":" in what and is_digest(what) and digest != what:
        raise Refused(f"manifest verification failed for digest {what}")
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type in ("", "application/json", "text/plain", "application/octet-stream"):
        media_type = _own_type(data)
    return Document(media_type, digest, data)


def _own_type(data: bytes) -> str:
    """What a document says that it is, for registries on plain file servers."""
    typed = layouts.decode(data, _Typed, "manifest")
    if typed.schema_version == 1:
        return layouts.SCHEMA_1_TYPES[0]
    return typed.media_type or (layouts.INDEX_TYPES if typed.manifests is not None else layouts.MANIFEST_TYPES)[0]


def _stream(answer: Answer) -> BlobStream:
    offset = 0
    if answer.status == 206:
        unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
        first = foreign.number(rest.partition("-")[0])
        if unit != "bytes" or first is None:
            answer.close()
            raise Refused(f'Get "{answer.url}": invalid Content-Range', status=206)
        offset = first
    return BlobStream(answer, offset)


def _next_page(url: str, link: str) -> str:
    """The address in a Link header (RFC 8288) of pagination."""
    target, _, parameters = link.partition(";")
    if 'rel="next"' not in parameters.replace("rel=next", 'rel="next"') or not target.strip().startswith("<"):
        return ""
    return foreign.joined(url, target.strip()[1:-1])
