"""An engine's client of registries, on a store of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from knarr.images import pulling, pushing
from knarr.images.cancellation import Cancellation
from knarr.images.downloads import Downloads
from knarr.images.image import Image
from knarr.images.platforms import Platform
from knarr.images.references import parse
from knarr.images.registry import repository
from knarr.images.registry.credentials import ANONYMOUS, Credentials
from knarr.images.registry.repository import Repository
from knarr.images.registry.settings import ProxySettings, RegistrySettings
from knarr.images.registry.transport import Transport
from knarr.images.store import ImageStore


class Said:
    """What was reported, in order."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def __call__(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Return when such a message has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(wanted, self.messages)), 30)

    def statuses(self) -> list[str]:
        """Without repetitions, which bars are."""
        lines = [f"{one['id']}: {one['status']}" if "id" in one else one.get("status", "") for one in self.messages]
        return list(dict.fromkeys(lines))


class RegistryBench:
    """Pulls and pushes for `store`. `said` is what was reported unless a call says otherwise."""

    def __init__(self, store: ImageStore, **settings: Any) -> None:
        self.store = store
        self.settings = RegistrySettings(**{"certificates": (), "proxies": ProxySettings(), **settings})
        self.said = Said()
        self.transport = Transport(self.settings)
        self.downloads = Downloads(
            store.content.partial, at_once=self.settings.downloads, attempts=self.settings.attempts
        )
        self.puller = pulling.Puller(store, self.transport, self.downloads)
        self.pusher = pushing.Pusher(store, self.transport)

    def pull(
        self,
        name: str,
        *,
        platform: Platform | None = None,
        credentials: Credentials = ANONYMOUS,
        cancellation: Cancellation | None = None,
        said: Said | None = None,
    ) -> Image:
        """The image."""
        cancellation = cancellation or Cancellation()
        return self.puller.pull(parse(name), platform, credentials, said or self.said, cancellation)[0]

    def push(
        self,
        name: str,
        *,
        platform: Platform | None = None,
        credentials: Credentials = ANONYMOUS,
        cancellation: Cancellation | None = None,
    ) -> str:
        """The digest of what was pushed."""
        cancellation = cancellation or Cancellation()
        return self.pusher.push(parse(name), credentials, self.said, cancellation, platform).digest

    def repository(self, name: str, credentials: Credentials = ANONYMOUS, actions: str = "pull") -> Repository:
        return repository.connect(self.transport, parse(name), credentials, Cancellation(), actions=actions)

    def statuses(self) -> list[str]:
        """As Said.statuses."""
        return self.said.statuses()

    def close(self) -> None:
        self.downloads.close()
        self.pusher.close()
        self.transport.close()


class Background:
    """Work in a thread of its own, and what came of it."""

    def __init__(self, work: Any) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001  # the thread's edge: the test gets it
            self.error = error

    def wait(self) -> Any:
        """Its result; raises its error."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result
