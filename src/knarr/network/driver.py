"""The interface between the controller and a kind of network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from knarr.network.model import Endpoint
from knarr.network.sandbox import Sandbox


class NetworkDriver(Protocol):
    """The kernel's side of one network.

    All methods block for as long as the kernel needs and raise `KnarrError` or `OSError`. `ensure`, `attach` and
    `remove` are called by one thread at a time, `detach` by one thread at a time, which may be another one.
    """

    def ensure(self, endpoints: Sequence[Endpoint]) -> None:
        """Make what the network needs on the host, or put right what is there; what belongs to `endpoints`, which
        live, is kept or reconnected, and any other interface of the network is deleted."""

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Give the sandbox an interface with the endpoint's addresses and routes. A failure leaves nothing behind."""

    def detach(self, endpoints: Sequence[Endpoint]) -> None:
        """Delete the endpoints' interfaces; those that are gone already are fine."""

    def remove(self) -> None:
        """Undo `ensure`; a network that is not there is fine."""

    def close(self) -> None:
        """Let go of descriptors; the network stays."""
