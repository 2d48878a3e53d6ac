"""The interface between the controller and a kind of network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from knarr.network.model import Endpoint
from knarr.network.rules import BridgeRules
from knarr.network.sandbox import Sandbox


class NetworkDriver(Protocol):
    """The kernel's side of one network.

    All methods block for as long as the kernel needs and raise `KnarrError` or `OSError`. They are called by one thread
    at a time, `detach` by another. Ends of endpoints on the host are deleted without the driver's help.
    """

    @property
    def rules(self) -> BridgeRules | None:
        """What the firewall must know of the network; None if its packets do not pass the host."""

    def ensure(self, endpoints: Sequence[Endpoint]) -> None:
        """Make what the network needs on the host, or put right what is there; what belongs to `endpoints`, which
        live, is kept or reconnected, and any other interface of the network on the host is deleted."""

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Give the sandbox an interface with the endpoint's addresses and routes. A failure leaves nothing behind."""

    def adopt(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Take over an endpoint that a former run has attached."""

    def detach(self, endpoint: Endpoint) -> None:
        """The container has ended or left: take away what would be in the way of another with the same addresses."""

    def remove(self) -> None:
        """Undo `ensure`; a network that is not there is fine."""

    def close(self) -> None:
        """Let go of descriptors; the network stays."""
