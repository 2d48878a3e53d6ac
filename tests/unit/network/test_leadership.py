"""Which network leads to the world."""

from __future__ import annotations

from knarr.network.leadership import leaders
from knarr.network.model import NetworkInfo, Subnet


def network(name: str, **more) -> NetworkInfo:
    return NetworkInfo(name, name, "bridge", 0, [Subnet("10.0.0.0/16", "10.0.0.1")], **more)


def test_the_first_by_name_unless_one_balances() -> None:
    back, front = network("back"), network("front")
    balancing = network("front", virtual={"web": ["10.0.255.254"]})
    assert leaders([(front, 0), (back, 0)])[4] is back
    assert leaders([(balancing, 0), (back, 0)])[4] is balancing
    assert leaders([(balancing, 0), (back, 1)])[4] is back
