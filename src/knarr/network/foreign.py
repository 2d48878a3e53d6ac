"""Other programs' packet filters in our way: a FORWARD chain of iptables whose policy is to drop (dockerd sets it).

What one chain of a hook drops stays dropped, whatever our table accepts. So the chain gets, at its end, where all rules
of the host's administrator have had their say, an exception from the policy for our bridges.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from typing import Any

from knarr.kernel.nftables import Nftables, NftablesError

_logger = logging.getLogger(__name__)


def exempt(nftables: Nftables, owner: str, bridges: list[str]) -> None:
    """Let forwarded packets of `bridges` pass a dropping FORWARD policy, in place of `owner`'s former exceptions.

    `owner` marks the rules (as their comment). No bridges: only take the exceptions away. Raises NftablesError.
    """
    listing = _forward_chain(nftables)
    commands = [
        f"delete rule ip filter FORWARD handle {rule['handle']}"
        for rule in _entries(listing, "rule")
        if rule.get("comment") == owner
    ]
    if any(chain.get("policy") == "drop" for chain in _entries(listing, "chain")):
        commands += [
            f'add rule ip filter FORWARD {direction} "{bridge}" counter accept comment "{owner}"'
            for bridge in bridges
            for direction in ("iifname", "oifname")
        ]
    if commands:
        nftables.run("\n".join(commands))
    if bridges and _legacy_drops():
        _logger.warning(
            "the FORWARD policy of iptables-legacy is DROP: containers are cut off until you run "
            "iptables-legacy -A FORWARD -i BRIDGE -j ACCEPT and -A FORWARD -o BRIDGE -j ACCEPT for %s",
            ", ".join(bridges),
        )


def _forward_chain(nftables: Nftables) -> list[dict[str, Any]]:
    try:
        listing: list[dict[str, Any]] = json.loads(nftables.run_json("list chain ip filter FORWARD"))["nftables"]
    except NftablesError:  # no such table, or no such chain
        return []
    return listing


def _entries(listing: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [entry[kind] for entry in listing if kind in entry]


def _legacy_drops() -> bool:
    """Whether the iptables of before nftables is in use here and drops what it does not know."""
    try:
        with open("/proc/net/ip_tables_names") as file:
            in_use = "filter" in file.read().split()
    except OSError:
        return False
    program = shutil.which("iptables-legacy")
    if not in_use or program is None:
        return False
    policy = subprocess.run([program, "-w", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
    return policy.startswith("-P FORWARD DROP")
