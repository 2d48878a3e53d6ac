"""The texts of a container's /etc/hosts, /etc/hostname and /etc/resolv.conf, in Docker's format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path

_STATIC_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("ff00::0", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
_HOST_GATEWAY = "host-gateway"
# What dockerd falls back on when the host names no server that a container can reach.
_PUBLIC_SERVERS = {4: ("8.8.8.8", "8.8.4.4"), 6: ("2001:4860:4860::8888", "2001:4860:4860::8844")}
_RESOLVED_STUB = "127.0.0.53"


def hosts_file(
    hostname: str,
    domainname: str = "",
    *,
    addresses: Sequence[str] = (),
    extra_hosts: Sequence[str] = (),
    linked: Sequence[tuple[str, str]] = (),
    host_gateways: Sequence[str] = (),
) -> str:
    """/etc/hosts: the usual names, `extra_hosts` ("name:address", as of --add-host), `linked` containers (address and
    names), the container's own addresses.

    "host-gateway" as an address stands for each of `host_gateways`.
    """
    name = f"{hostname}.{domainname}" if domainname else hostname
    own = f"{name} {name.partition('.')[0]}" if "." in name else name
    lines = [*_STATIC_HOSTS]
    lines += [line for entry in extra_hosts for line in _extra(entry, host_gateways)]
    lines += linked
    lines += [(address, own) for address in addresses]
    return "".join(f"{address}\t{names}\n" for address, names in lines)


def _extra(entry: str, host_gateways: Sequence[str]) -> list[tuple[str, str]]:
    name, _, address = entry.partition(":")
    if address == _HOST_GATEWAY:
        return [(gateway, name) for gateway in host_gateways]
    return [(address.strip("[]"), name)]


def revised_hosts(present: str, former: str, wanted: str) -> str:
    """/etc/hosts as it is now, with the lines of `wanted` in place of those of `former`; all others stay."""
    before, after = former.splitlines(), wanted.splitlines()
    kept = [line for line in present.splitlines() if line not in before or line in after]
    return "".join(f"{line}\n" for line in [*kept, *(line for line in after if line not in kept)])


def hostname_file(hostname: str) -> str:
    """/etc/hostname."""
    return f"{hostname}\n"


def resolv_conf(
    host_text: str,
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    ipv6: bool = False,
) -> str:
    """/etc/resolv.conf for a container that asks servers outside: the host's own, but for what the user has set.

    The host's loopback servers cannot be reached from a container and are left out, those with IPv6 addresses too
    unless the container has `ipv6`; if none is left, public ones are put in. `search` of "." is an empty search list.
    """
    if not (dns or search or options):
        return _without_unreachable(host_text, ipv6)
    domains = list(search) or _words(host_text, "search")
    lines = []
    if domains and domains != ["."]:
        lines.append(f"search {' '.join(domains)}")
    lines += [f"nameserver {server}" for server in dns or _reachable(_servers(host_text), ipv6)]
    if wanted := list(options) or _words(host_text, "options"):
        lines.append(f"options {' '.join(wanted)}")
    return "".join(f"{line}\n" for line in lines)


def embedded_resolv_conf(host_text: str, *, search: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """/etc/resolv.conf for a container that asks the engine's own name server first, for single words too."""
    asked = list(options) or _words(host_text, "options")
    wanted = asked if any(option.startswith("ndots:") for option in asked) else [*asked, "ndots:0"]
    return resolv_conf(host_text, dns=["127.0.0.11"], search=search, options=wanted)


def servers(host_text: str) -> list[str]:
    """The name servers that a resolv.conf of the host names, for a process of the host."""
    return _servers(host_text)


def names_reachable(host_text: str) -> bool:
    """Whether a resolv.conf of the host names servers that are not on its loopback, where others cannot reach them."""
    return any(_is_reachable(server, ipv6=True) for server in _servers(host_text))


def read_host_resolv_conf(root: Path = Path("/")) -> str:
    """The host's resolv.conf, "" if it has none; where that names nothing but systemd-resolved's stub on loopback,
    the file in which resolved lists the real servers."""
    text = _read(root / "etc/resolv.conf")
    if _servers(text) == [_RESOLVED_STUB]:
        return _read(root / "run/systemd/resolve/resolv.conf") or text
    return text


def _without_unreachable(host_text: str, ipv6: bool) -> str:
    servers = _servers(host_text)
    wanted = _reachable(servers, ipv6)
    lines = [line for line in host_text.splitlines() if _server(line) is None or _server(line) in wanted]
    if not set(wanted) & set(servers):
        lines += [f"nameserver {server}" for server in wanted]
    return "".join(f"{line}\n" for line in lines)


def _reachable(servers: Iterable[str], ipv6: bool) -> list[str]:
    found = [server for server in servers if _is_reachable(server, ipv6)]
    if found:
        return found
    return [*_PUBLIC_SERVERS[4], *(_PUBLIC_SERVERS[6] if ipv6 else ())]


def _is_reachable(server: str, ipv6: bool) -> bool:
    try:
        address = ip_address(server)
    except ValueError:  # glibc passes over it too
        return False
    return not address.is_loopback and (address.version == 4 or ipv6)


def _servers(text: str) -> list[str]:
    return [server for line in text.splitlines() if (server := _server(line)) is not None]


def _server(line: str) -> str | None:
    words = line.split()
    return words[1] if len(words) > 1 and words[0] == "nameserver" else None


def _words(text: str, keyword: str) -> list[str]:
    """What the last line with that keyword says; for "search", "domain" is its older name."""
    keywords = (keyword, "domain") if keyword == "search" else (keyword,)
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in keywords:
            found = words[1:]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
