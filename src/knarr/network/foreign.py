"""Other programs' packet filters in our way: iptables' FORWARD chains that drop by policy (dockerd, ufw), firewalld.

What one chain of a hook drops stays dropped, whatever our table accepts. So an iptables chain gets, at its end, where
all rules of the host's administrator have had their say, an exception from the policy for our bridges, and firewalld
gets them into its zone `trusted`, as long as it runs.
"""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from knarr.kernel.nftables import Nftables, NftablesError

_logger = logging.getLogger(__name__)

_DIRECTIONS = {"iifname": "-i", "oifname": "-o"}
_LEGACY = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}
_LEGACY_DROPS = "-P FORWARD DROP"

Exceptions = set[tuple[str, str]]
"""Directions (as in _DIRECTIONS) and bridges."""


def exempt(nftables: Nftables, owner: str, bridges: Sequence[str]) -> None:
    """Let forwarded packets of `bridges` pass dropping policies, in place of `owner`'s former exceptions.

    `owner` marks the rules (as their comment). No bridges: only take the exceptions away. Raises NftablesError.
    """
    wanted = {(direction, bridge) for bridge in bridges for direction in _DIRECTIONS}
    commands = [command for family in ("ip", "ip6") for command in _changes(nftables, family, owner, wanted)]
    if commands:
        nftables.run("\n".join(commands))
    for program in _LEGACY:
        _exempt_from_legacy(program, owner, wanted)
    if bridges and _has_table(nftables, "firewalld"):
        _trust(bridges)


def obstacles() -> list[str]:
    """What would keep forwarded packets from bridges if nobody told it of them. For root. Raises KnarrError."""
    nftables = Nftables()
    try:
        found = [
            f"{program} has the policy DROP for FORWARD"
            for family, program in (("ip", "iptables"), ("ip6", "ip6tables"))
            if _drops(_listing(nftables, f"list chain {family} filter FORWARD"))
        ]
        found += ["firewalld"] if _has_table(nftables, "firewalld") else []
    finally:
        nftables.close()
    for program, names in _LEGACY.items():
        path = shutil.which(program)
        if path and _legacy_in_use(names) and _LEGACY_DROPS in _run(path, "-w", "-S", "FORWARD").splitlines():
            found.append(f"{program} has the policy DROP for FORWARD")
    return found


def _drops(listing: list[dict[str, Any]]) -> bool:
    return any(entry.get("policy") == "drop" for entry in _entries(listing, "chain"))


def _changes(nftables: Nftables, family: str, owner: str, wanted: Exceptions) -> list[str]:
    chain = f"{family} filter FORWARD"
    listing = _listing(nftables, f"list chain {chain}")
    present = {rule["handle"]: _exception(rule) for rule in _entries(listing, "rule") if rule.get("comment") == owner}
    if not _drops(listing):
        wanted = set()
    stale = [handle for handle, exception in present.items() if exception not in wanted]
    missing = sorted(wanted - set(present.values()))
    return [
        *(f"delete rule {chain} handle {handle}" for handle in stale),
        *(f'add rule {chain} {where} "{bridge}" counter accept comment "{owner}"' for where, bridge in missing),
    ]


def _exception(rule: dict[str, Any]) -> tuple[str, str]:
    match: dict[str, Any] = next((entry["match"] for entry in rule["expr"] if "match" in entry), {})
    return match.get("left", {}).get("meta", {}).get("key", ""), match.get("right", "")


def _has_table(nftables: Nftables, name: str) -> bool:
    return any(table["name"] == name for table in _entries(_listing(nftables, "list tables"), "table"))


def _listing(nftables: Nftables, command: str) -> list[dict[str, Any]]:
    try:
        listing: list[dict[str, Any]] = json.loads(nftables.run_json(command))["nftables"]
    except NftablesError:  # no such table, or no such chain
        return []
    return listing


def _entries(listing: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [entry[kind] for entry in listing if kind in entry]


def _exempt_from_legacy(program: str, owner: str, wanted: Exceptions) -> None:
    """The same in the iptables of before nftables, which has no other interface than its programs."""
    path = shutil.which(program)
    if path is None or not _legacy_in_use(_LEGACY[program]):
        return
    lines = _run(path, "-w", "-S", "FORWARD").splitlines()
    if _LEGACY_DROPS not in lines:
        wanted = set()
    marked = ["-m", "comment", "--comment", owner, "-j", "ACCEPT"]
    rules = [shlex.split(line)[2:] for line in lines if line.startswith("-A")]
    present = {rule[0] + rule[1] for rule in rules if rule[2:] == marked}
    needed = {_DIRECTIONS[where] + bridge for where, bridge in wanted}
    for verb, each in (("-D", present - needed), ("-A", needed - present)):
        for exception in sorted(each):
            _run(path, "-w", verb, "FORWARD", exception[:2], exception[2:], *marked)


def _legacy_in_use(names: str) -> bool:
    try:
        with open(f"/proc/thread-self/net/{names}") as file:
            return "filter" in file.read().split()
    except OSError:
        return False


def _trust(bridges: Iterable[str]) -> None:
    """Let firewalld, which forwards nothing that it does not know, know our bridges."""
    path = shutil.which("firewall-cmd")
    if path is None:
        _logger.warning("firewalld forwards nothing of ours, and there is no firewall-cmd to tell it")
        return
    present = _run(path, "--zone=trusted", "--list-interfaces").split()
    for bridge in (bridge for bridge in bridges if bridge not in present):
        _run(path, "--zone=trusted", f"--change-interface={bridge}")


def _run(*command: str) -> str:
    """What a program prints; a failure is logged."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        _logger.warning("%s: %s", shlex.join(command), done.stderr.strip())
    return done.stdout
