"""Values of single flags: each function takes the word after the flag and raises ValueError with docker's words."""

from __future__ import annotations

import re

from knarr.cli.units import parse_size

_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"),
    *("rtprio", "rttime", "sigpending", "stack"),
)
_SYSCTLS = (
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem"),
    *("kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
)
_DEVICE_RULE = r"[acb] (?:[0-9]+|\*):(?:[0-9]+|\*) [rwm]{1,3}"  # compiled on use, as most commands have none
_MAC = r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}"


def attach_stream(word: str) -> str:
    stream = word.lower()
    if stream not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return stream


def environment_variable(word: str) -> str:
    if not word.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {word}")
    return word


def label(word: str) -> str:
    if not word.partition("=")[0]:
        raise ValueError(f"invalid label '{word}': empty name")
    return word


def link(word: str) -> str:
    if not word:
        raise ValueError("empty string specified for links")
    if word.count(":") > 1:
        raise ValueError(f"bad format for links: {word}")
    return word


def is_ip(word: str) -> bool:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, word)
        except OSError:
            continue
        return True
    return False


def ip_address(word: str) -> str:
    address = word.strip()
    if not is_ip(address):
        raise ValueError(f"IP address is not correctly formatted: {word}")
    return address


def dns_search(word: str) -> str:
    domain = word.strip(" ")
    if domain == "." or re.fullmatch(r"[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9_])?\.?", domain):
        return domain
    raise ValueError(f"{word} is not a valid domain")


def is_mac(word: str) -> bool:
    return re.fullmatch(_MAC, word) is not None


def extra_host(word: str) -> str:
    """`name=address` or `name:address`; the address may be the word host-gateway."""
    name, separator, address = word.partition("=")
    if not separator:
        name, separator, address = word.partition(":")
    if not separator or not name:
        raise ValueError(f'bad format for add-host: "{word}"')
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not is_ip(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def sysctl(word: str) -> tuple[str, str]:
    name, separator, content = word.partition("=")
    if not separator or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{word}' is not allowed")
    return name, content


def nano_cpus(word: str) -> int:
    """Billionths of a CPU of `1.5` or `1/4`."""
    from fractions import Fraction

    try:
        cpus = Fraction(word) * 10**9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {word} as a rational number") from None
    if cpus.denominator != 1:
        raise ValueError("value is too precise")
    return int(cpus)


def restart_policy(word: str) -> dict[str, object]:
    """`name[:retries]`"""
    name, separator, count = word.partition(":")
    if separator and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    try:
        retries = int(count) if separator else 0
    except ValueError:
        raise ValueError("invalid restart policy format: maximum retry count must be an integer") from None
    return {"Name": name, "MaximumRetryCount": retries}


def ulimit(word: str) -> dict[str, object]:
    name, separator, limits = word.partition("=")
    if not separator:
        raise ValueError(f"invalid ulimit argument: {word}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    numbers = limits.split(":")
    if len(numbers) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    soft, hard = _limit(numbers[0]), _limit(numbers[-1])
    if hard != -1 and (soft == -1 or soft > hard):
        shown = f"{soft} > {hard}" if soft != -1 else f"soft: -1 (unlimited), hard: {hard}"
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {shown}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def _limit(word: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", word):
        raise ValueError(f'strconv.ParseInt: parsing "{word}": invalid syntax')
    return int(word)


def device_rule(word: str) -> str:
    if not re.fullmatch(_DEVICE_RULE, word):
        raise ValueError(f"invalid device cgroup format '{word}'")
    return word


def weight_device(word: str) -> dict[str, object]:
    path, weight = _split_device(word)
    if not weight.isdigit() or not (int(weight) == 0 or 10 <= int(weight) <= 1000):
        raise ValueError(f"invalid weight for device: {word}")
    return {"Path": path, "Weight": int(weight)}


def bytes_rate(word: str) -> dict[str, object]:
    path, rate = _split_device(word)
    try:
        return {"Path": path, "Rate": parse_size(rate)}
    except ValueError:
        form = "<device-path>:<number>[<unit>]. Number must be a positive integer."
        form += " Unit is optional and can be kb, mb, or gb"
        raise ValueError(f"invalid rate for device: {word}. The correct format is {form}") from None


def operations_rate(word: str) -> dict[str, object]:
    path, rate = _split_device(word)
    if not rate.isdigit():
        form = "<device-path>:<number>. Number must be a positive integer"
        raise ValueError(f"invalid rate for device: {word}. The correct format is {form}")
    return {"Path": path, "Rate": int(rate)}


def _split_device(word: str) -> tuple[str, str]:
    path, separator, value = word.partition(":")
    if not separator or not path:
        raise ValueError(f"bad format: {word}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {word}")
    return path, value


def csv_fields(word: str) -> list[str]:
    """The fields of one line of comma separated values, in which a field may be quoted."""
    if not word:
        raise ValueError("EOF")
    import csv

    try:
        return next(csv.reader([word], strict=True))
    except csv.Error as error:
        raise ValueError(f"invalid comma separated values: {error}") from None
