"""Which of a container's networks leads to the world."""

from __future__ import annotations

from collections.abc import Iterable

from knarr.network.model import VERSIONS, NetworkInfo


def leaders(candidates: Iterable[tuple[NetworkInfo, int]]) -> dict[int, NetworkInfo]:
    """For each IP version, of the networks with which it leads out the one with the highest priority: Docker's rule.

    `candidates` are networks, each with its priority (--gw-priority); of equal ones the first by name is taken, but
    one that balances before all others: published ports go where the leader is.
    """
    found = {}
    ordered = sorted(candidates, key=lambda candidate: (-candidate[1], not candidate[0].virtual, candidate[0].name))
    for version in VERSIONS:
        able = [network for network, _ in ordered if version in network.leads]
        if able:
            found[version] = able[0]
    return found
