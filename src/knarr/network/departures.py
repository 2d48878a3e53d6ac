"""What endpoints leave behind when they go, and the worker that cleans it up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from knarr.network.addressing import Addressing
from knarr.network.endpoints import Endpoints
from knarr.network.model import BoundPort, Endpoint
from knarr.network.plumbing import Plumbing
from knarr.network.ports import HostPorts
from knarr.network.relay import Relays

if TYPE_CHECKING:
    from knarr.network.relay_service import RelayService

_logger = logging.getLogger(__name__)


class Departures:
    """Deletes interfaces, as many at once as there are, in a thread of its own."""

    def __init__(
        self,
        endpoints: Endpoints,
        ports: HostPorts,
        relays: Relays | RelayService,
        plumbing: Plumbing,
        addressing: Mapping[str, Addressing],
        forget_names: Callable[[], Awaitable[None]],
    ) -> None:
        """`forget_names` is called after endpoints with names have gone."""
        self._endpoints = endpoints
        self._ports = ports
        self._relays = relays
        self._plumbing = plumbing
        self._addressing = addressing
        self._forget_names = forget_names
        self._names_changed = False
        self._leaving: list[Endpoint] = []
        self._sweep: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, "network-removal")

    def retire(self, endpoint: Endpoint) -> None:
        """Forget an endpoint and have its interface deleted."""
        self._endpoints.drop(endpoint)
        self._relays.close(endpoint.endpoint_id)
        self._ports.release(endpoint.endpoint_id)
        self._endpoints.erase(endpoint)
        self._leaving.append(endpoint)
        self._names_changed = self._names_changed or bool(endpoint.names)
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.create_task(self._sweep_out())

    @property
    def underway(self) -> bool:
        """Whether addresses are on their way back."""
        return self._sweep is not None and not self._sweep.done()

    async def settled(self) -> None:
        """When nothing is left to be deleted; cancelled, that goes on."""
        if self._sweep is not None:
            await asyncio.shield(self._sweep)

    def redirect_flows(self, ports: Sequence[BoundPort], right: Sequence[Endpoint]) -> None:
        """See `Plumbing.redirect_flows`; in the background: nobody waits for it."""
        if any(port.protocol == "udp" for port in ports):
            addresses = [address.ip for endpoint in right for address in endpoint.addresses]
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._worker, self._plumbing.redirect_flows, ports, addresses)
            work.add_done_callback(_log_failure)

    def close(self) -> None:
        """End the worker when it has done what it has."""
        self._worker.shutdown()

    async def _sweep_out(self) -> None:
        """An address is given again only when its old place is gone, or the bridge would go on sending there."""
        loop = asyncio.get_running_loop()
        while self._leaving:
            gone, self._leaving = self._leaving, []
            if self._names_changed:
                self._names_changed = False
                await self._forget_names()
            try:
                await loop.run_in_executor(self._worker, self._plumbing.clean_up, gone)
            except OSError as error:
                _logger.warning("removing %d endpoints: %s", len(gone), error)
            for endpoint in gone:
                if addressing := self._addressing.get(endpoint.network_id):
                    addressing.release(endpoint.addresses)


def _log_failure(work: asyncio.Future[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _logger.warning("connection tracking: %s", error)
