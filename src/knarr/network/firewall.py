"""The daemon's own nftables table in the kernel: its state, and the transactions that change it.

Everything is in one table (`rules.table_text`). It is made from nothing, in the transaction that removes the former
one, at the start and after damage; apart from that a change concerns only the elements and chains of what has changed.

A user's own filters belong into a table of their own, with a chain at another priority of the forward hook: what any
chain drops is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from knarr.kernel.nftables import Nftables, NftablesError
from knarr.network import balancing
from knarr.network.balancing import Balance
from knarr.network.model import Endpoint
from knarr.network.rules import BridgeRules, additions, overlap, port_commands, removals, table_text


class Firewall:
    """One daemon's table. Every change is one transaction."""

    def __init__(self, nftables: Nftables, table: str, bridges: Sequence[BridgeRules]) -> None:
        self._nftables = nftables
        self._table = table
        self._bridges = bridges
        self._published: dict[str, Endpoint] = {}
        self._balances: dict[str, Balance] = {}

    def serve(self, bridges: Sequence[BridgeRules]) -> None:
        """Replace the table; these are the bridges from now on. Raises NftablesError; then nothing has changed."""
        self._to_bridges(bridges, [], anew=True)

    def add_bridge(self, bridge: BridgeRules) -> None:
        """A bridge has come. Raises NftablesError; then nothing has changed."""
        self._to_bridges([*self._bridges, bridge], additions(self._table, bridge))

    def remove_bridge(self, interface: str) -> None:
        """A bridge is about to go; one that is not there is fine. Raises NftablesError; then nothing has changed."""
        bridge = next((each for each in self._bridges if each.interface == interface), None)
        if bridge is not None:
            rest = [each for each in self._bridges if each is not bridge]
            shared = any(overlap(bridge, other) for other in rest)
            self._to_bridges(rest, removals(self._table, bridge), anew=shared)

    def _to_bridges(self, bridges: Sequence[BridgeRules], commands: list[str], *, anew: bool = False) -> None:
        """To other bridges, by `commands` or by making the table `anew`."""
        former, self._bridges = self._bridges, bridges
        try:
            if anew:
                self.rebuild(self._published.values())
            else:
                self._change(self._published, commands)
        except NftablesError:
            self._bridges = former
            raise

    def rebuild(self, endpoints: Iterable[Endpoint]) -> None:
        """Replace the table, whatever is there; of all endpoints only these have ports. Raises NftablesError."""
        published = {each.endpoint_id: each for each in endpoints if each.published}
        balances = self._balanced(published)
        commands = [table_text(self._table, self._bridges)]
        commands += [line for each in published.values() for line in port_commands(self._table, each, "add")]
        commands += balancing.difference(self._table, {}, balances)
        self._nftables.run("\n".join(commands))
        self._published, self._balances = published, balances

    def publish(self, endpoint: Endpoint) -> None:
        """Let an endpoint's published ports in, and its share of what is balanced. Raises NftablesError."""
        if endpoint.published:
            self._change(
                {**self._published, endpoint.endpoint_id: endpoint}, port_commands(self._table, endpoint, "add")
            )

    def balance(self, endpoint: Endpoint) -> None:
        """An endpoint has become ready for its share of what is balanced, or is no longer; one that is not there is
        fine. Raises NftablesError."""
        if endpoint.endpoint_id in self._published:
            self._change({**self._published, endpoint.endpoint_id: endpoint}, [])

    def change(self, former: Endpoint, endpoint: Endpoint) -> None:
        """Let the published ports of `endpoint` in, in place of those that it had; those in both stay open throughout.

        Raises NftablesError; then nothing has changed.
        """
        gone = [port for port in former.ports if port not in endpoint.ports]
        new = [port for port in endpoint.ports if port not in former.ports]
        commands = port_commands(self._table, replace(former, ports=gone), "delete")
        commands += port_commands(self._table, replace(endpoint, ports=new), "add")
        published = {id: each for id, each in self._published.items() if id != endpoint.endpoint_id}
        if endpoint.published:
            published[endpoint.endpoint_id] = endpoint
        self._change(published, commands)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Undo `publish`; an endpoint without ports is fine. Raises NftablesError."""
        if endpoint.endpoint_id in self._published:
            rest = {id: each for id, each in self._published.items() if id != endpoint.endpoint_id}
            self._change(rest, port_commands(self._table, endpoint, "delete"))

    def remove(self) -> None:
        """Delete the table; a missing one is fine. Raises NftablesError."""
        self._nftables.run(f"table inet {self._table}\ndelete table inet {self._table}")

    def _change(self, published: dict[str, Endpoint], commands: list[str]) -> None:
        """To other endpoints, by `commands` and what they change in the balances."""
        balances = self._balanced(published)
        commands = commands + balancing.difference(self._table, self._balances, balances)
        if commands:
            try:
                self._nftables.run("\n".join(commands))
            except NftablesError:  # somebody has flushed the rules: put all of them back
                self.rebuild(published.values())
        self._published, self._balances = published, balances

    def _balanced(self, published: Mapping[str, Endpoint]) -> dict[str, Balance]:
        found = [
            balance
            for bridge in self._bridges
            if bridge.virtual
            for balance in balancing.of(bridge, published.values())
        ]
        return {balance.chain: balance for balance in found}
