from __future__ import annotations

from ipaddress import IPv4Network

from knarr.network.firewall import Firewall
from knarr.network.model import Address, BoundPort, Endpoint
from knarr.network.rules import BridgeRules, additions, table_text

BRIDGE = BridgeRules("knarr0", [IPv4Network("172.17.0.0/16")])


class Recorder:
    """Takes the place of libnftables at the boundary: the texts it would get."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def run(self, commands: str) -> str:
        self.commands.append(commands)
        return ""


def firewall() -> tuple[Firewall, Recorder]:
    recorder = Recorder()
    return Firewall(recorder, "knarr", [BRIDGE]), recorder  # type: ignore[arg-type]


def endpoint(*ports: BoundPort) -> Endpoint:
    return Endpoint("e", "c", "n", "bridge", [Address("172.17.0.2", 16)], "", "vethk0", list(ports))


def test_table_replaces_its_former_self() -> None:
    lines = table_text("knarr", [BRIDGE]).split("\n")
    assert lines[1:4] == ["table inet knarr", "delete table inet knarr", "table inet knarr {"]


OTHER = BridgeRules("br-1", [IPv4Network("172.18.0.0/16")], network_id="b")


def test_a_bridge_is_a_chain_and_elements() -> None:
    assert additions("knarr", OTHER) == [
        "add chain inet knarr source4_b",
        'add rule inet knarr source4_b oifname "br-1" ct status dnat masquerade',
        'add rule inet knarr source4_b oifname != "br-1" masquerade',
        'add element inet knarr bridges { "br-1" }',
        'add element inet knarr within { "br-1" . "br-1" }',
        "add element inet knarr sources4 { 172.18.0.0/16 : jump source4_b }",
    ]


def test_of_overlapping_subnets_the_largest_counts() -> None:
    inner = BridgeRules("br-2", [IPv4Network("172.18.4.0/24")], network_id="c")
    text = table_text("knarr", [inner, OTHER])
    assert "add element inet knarr sources4 { 172.18.0.0/16 : jump source4_b }" in text


def test_a_bridge_whose_subnet_is_anothers_too_goes_with_a_new_table() -> None:
    recorder = Recorder()
    inner = BridgeRules("br-2", [IPv4Network("172.18.4.0/24")], network_id="c")
    Firewall(recorder, "knarr", [inner, OTHER]).remove_bridge("br-1")  # type: ignore[arg-type]
    assert recorder.commands == [table_text("knarr", [inner])]


def test_ports_are_elements_of_two_maps() -> None:
    table, recorder = firewall()
    ports = [BoundPort(80, "tcp", "0.0.0.0", 8080), BoundPort(81, "tcp", "0.0.0.0", 8081)]
    table.publish(endpoint(*ports, BoundPort(53, "udp", "127.0.0.1", 5353)))
    assert recorder.commands == [
        "add element inet knarr published4 { tcp . 8080 : 172.17.0.2 . 80, tcp . 8081 : 172.17.0.2 . 81 }\n"
        "add element inet knarr published_at4 { 127.0.0.1 . udp . 5353 : 172.17.0.2 . 53 }"
    ]


def test_withdrawing_names_the_keys_alone() -> None:
    table, recorder = firewall()
    table.publish(endpoint(BoundPort(80, "tcp", "0.0.0.0", 8080)))
    table.withdraw(endpoint(BoundPort(80, "tcp", "0.0.0.0", 8080)))
    assert recorder.commands[1:] == ["delete element inet knarr published4 { tcp . 8080 }"]


def test_rebuilding_brings_the_ports_in_the_same_transaction() -> None:
    table, recorder = firewall()
    table.rebuild([endpoint(BoundPort(80, "tcp", "0.0.0.0", 8080)), endpoint()])
    assert len(recorder.commands) == 1
    assert recorder.commands[0].endswith("add element inet knarr published4 { tcp . 8080 : 172.17.0.2 . 80 }")
