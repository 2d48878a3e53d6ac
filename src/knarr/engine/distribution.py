"""Registries as the Engine API sees them: pulling, pushing, logging in, looking around.

The work is done in threads; one whose caller is cancelled ends soon. Nothing of it is imported before it is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.engine.settings import EngineSettings
from knarr.errors import InvalidParameter
from knarr.images import platforms, references
from knarr.images.cancellation import Cancellation
from knarr.images.downloads import Downloads
from knarr.images.image import Image
from knarr.images.platforms import Platform
from knarr.images.progress import Report
from knarr.images.references import Reference
from knarr.images.registry.credentials import ANONYMOUS, Credentials
from knarr.images.registry.settings import ProxySettings, RegistrySettings, environment_proxies
from knarr.images.store import ImageStore

if TYPE_CHECKING:
    from knarr.images.pulling import Puller
    from knarr.images.pushing import Pusher
    from knarr.images.registry.repository import Repository
    from knarr.images.registry.transport import Transport

_T = TypeVar("_T")
_SEARCH_FILTERS = frozenset({"is-automated", "is-official", "stars"})
_MOST_FOUND = 100
_AT_ONCE = 64  # pulls and pushes; layers have limits of their own


class Distribution:
    """What the API's routes and the builders call: coroutines of the event loop."""

    def __init__(self, store: ImageStore, events: EventBus, settings: EngineSettings) -> None:
        self._store = store
        self._events = events
        self._engine_settings = settings
        self.settings = registry_settings(settings)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "registry")
        self._running: dict[asyncio.Future[Any], Cancellation] = {}
        self._clients: _Clients | None = None
        self.downloads = Downloads(
            store.content.partial, at_once=self.settings.downloads, attempts=self.settings.attempts
        )

    def reload(self) -> None:
        """Take over what the engine's settings say of mirrors and insecure registries now."""
        self.settings = registry_settings(self._engine_settings)
        if self._clients is not None:
            self._clients.transport.settings = self.settings

    async def close(self) -> None:
        """End all that is under way."""
        for cancellation in self._running.values():
            cancellation.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.to_thread(self.downloads.close)
        self._threads.shutdown()
        if self._clients is not None:
            self._clients.close()

    async def pull(
        self,
        image: str,
        report: Report,
        *,
        tag: str = "",
        platform: str = "",
        credentials: Credentials = ANONYMOUS,
    ) -> Image | None:
        """`docker pull`: `tag` is a tag or a digest; without one, in `image` neither, all tags are pulled.

        The image, None for all tags. `report` gets the API's progress messages, from threads too. Raises
        InvalidParameter, NotFound, KnarrError (registry, network); cancelled, it keeps what has come.
        """
        reference = _reference(image, tag)
        wanted = platforms.parse(platform) if platform else None
        if reference.tag or reference.digest:
            pulled, changed = await self._pull_one(reference, wanted, credentials, report)
        else:
            tags = await self._run(lambda ending: self._client.puller.tags(reference, credentials, ending))
            pulls = [await self._pull_one(one, wanted, credentials, report) for one in tags]
            pulled, changed = None, any(news for _, news in pulls)
        words = "Downloaded newer image" if changed else "Image is up to date"
        report({"status": f"Status: {words} for {reference.familiar}"})
        return pulled

    async def _pull_one(
        self, reference: Reference, platform: Platform | None, credentials: Credentials, report: Report
    ) -> tuple[Image, bool]:
        image, changed = await self._run(
            lambda ending: self._client.puller.pull(reference, platform, credentials, report, ending)
        )
        attributes = {**image.config.config.labels, "name": reference.familiar_name}
        self._events.publish("image", "pull", reference.familiar, attributes)
        return image, changed

    async def push(
        self,
        image: str,
        report: Report,
        *,
        tag: str = "",
        platform: Platform | None = None,
        credentials: Credentials = ANONYMOUS,
    ) -> None:
        """`docker push`: one tag, or all tags of a repository; as `Pusher.push`. `report` gets the progress messages.

        Raises NotFound, InvalidParameter, KnarrError (registry, network).
        """
        reference = _reference(image, tag)
        report({"status": f"The push refers to repository [{reference.name}]"})
        from knarr.images import pushing

        for one in pushing.names_to_push(self._store, reference):
            await self._push_one(one, platform, credentials, report)

    async def _push_one(
        self, name: Reference, platform: Platform | None, credentials: Credentials, report: Report
    ) -> None:
        await self._run(lambda ending: self._client.pusher.push(name, credentials, report, ending, platform))
        labels = self._store.resolve(str(name)).config.config.labels
        self._events.publish("image", "push", name.familiar, {**labels, "name": name.familiar_name})

    async def log_in(self, credentials: Credentials) -> str:
        """`docker login`: the identity token that stands for the credentials from now on, or "".

        Raises Unauthorized, KnarrError (network).
        """
        from knarr.images.registry import login

        return await self._run(lambda ending: login.log_in(self._client.transport, credentials, ending))

    async def describe(
        self, image: str, credentials: Credentials = ANONYMOUS, *, insecure: bool = False
    ) -> dict[str, Any]:
        """The API's DistributionInspect of what a registry has, and the manifest or index itself (`Raw`, base64).

        `insecure` lets the registry be one without a valid certificate, or without TLS. Raises NotFound, Unauthorized,
        KnarrError.
        """
        from knarr.images.registry import descriptions

        reference = references.parse(image).with_default_tag()
        found = await self.within(
            reference,
            credentials,
            "pull",
            lambda there: descriptions.describe(there, reference.digest or reference.tag),
            insecure=insecure,
        )
        described: dict[str, Any] = msgspec.to_builtins(found)
        return described

    async def search(
        self, term: str, *, limit: int = 25, filters: str | None = None, credentials: Credentials = ANONYMOUS
    ) -> list[dict[str, Any]]:
        """`docker search`. Raises InvalidParameter, KnarrError (a registry that has no search)."""
        from knarr.images.registry import searching

        wanted = Filters.parse(filters, _SEARCH_FILTERS)
        least = max((_stars(text) for text in wanted["stars"]), default=0)
        official, automated = wanted.boolean("is-official"), wanted.boolean("is-automated")
        if not 1 <= limit <= _MOST_FOUND:
            raise InvalidParameter(f"limit {limit} is outside the range of [1, {_MOST_FOUND}]")
        found = await self._run(
            lambda ending: searching.search(self._client.transport, term, limit, credentials, ending)
        )
        return [
            msgspec.to_builtins(one)
            for one in found
            if one.star_count >= least and official in (None, one.is_official) and automated in (None, one.is_automated)
        ]

    async def within(
        self,
        reference: Reference,
        credentials: Credentials,
        actions: str,
        work: Callable[[Repository], _T],
        *,
        insecure: bool = False,
    ) -> _T:
        """The result of `work`, which gets the repository of a name, for "pull" or "pull,push", and runs in a thread.

        Raises KnarrError (registry, network), and what `work` raises.
        """
        from knarr.images.registry import failures, repository

        def run(ending: Cancellation) -> _T:
            there = repository.connect(
                self._client.transport, reference, credentials, ending, actions=actions, insecure=insecure
            )
            try:
                return work(there)
            except failures.Refused as error:
                raise failures.by_kind(error) from error

        return await self._run(run)

    # -- inside

    @property
    def _client(self) -> _Clients:
        if self._clients is None:
            self._clients = _Clients(self._store, self.settings, self.downloads)
        return self._clients

    async def _run(self, work: Callable[[Cancellation], _T]) -> _T:
        """The result of `work` in a thread; when the caller is cancelled, so is the work."""
        ending = Cancellation()
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, ending)
        self._running[future] = ending
        future.add_done_callback(self._done)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            ending.cancel()
            raise

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._running.pop(future, None)
        if not future.cancelled():
            future.exception()  # whoever waited for it may have gone


class _Clients:
    """What needs an HTTP client."""

    def __init__(self, store: ImageStore, settings: RegistrySettings, downloads: Downloads) -> None:
        from knarr.images.pulling import Puller
        from knarr.images.pushing import Pusher
        from knarr.images.registry.transport import Transport

        self.transport: Transport = Transport(settings)
        self.puller: Puller = Puller(store, self.transport, downloads)
        self.pusher: Pusher = Pusher(store, self.transport)

    def close(self) -> None:
        self.pusher.close()
        self.transport.close()


def _stars(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidParameter(f"invalid filter 'stars={text}'")
    return int(text)


def registry_settings(settings: EngineSettings) -> RegistrySettings:
    """What the engine's configuration says of registries; of proxies also what the environment says."""
    configured = ProxySettings(http=settings.http_proxy, https=settings.https_proxy, no_proxy=settings.no_proxy)
    return RegistrySettings(
        mirrors=tuple(settings.registry_mirrors),
        insecure=tuple(settings.insecure_registries),
        proxies=configured.over(environment_proxies()),
        downloads=settings.max_concurrent_downloads,
        uploads=settings.max_concurrent_uploads,
        attempts=settings.max_download_attempts,
    )


def _reference(image: str, tag: str) -> Reference:
    """What the API's `fromImage` and `tag` name. Raises InvalidParameter."""
    reference = references.parse(image.removesuffix(":"))
    if not tag:
        return reference
    if ":" in tag:
        return references.parse(f"{reference.name}@{tag}")
    return reference.with_tag(tag)
