"""A container's options as Python values, and the API's bodies made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from knarr.errors import InvalidParameter

_LOOPBACK = "127.0.0.1"


class ProcessOptions(TypedDict, total=False):
    """What a container's program and an exec have in common."""

    env: Mapping[str, str]
    user: str
    workdir: str
    tty: bool


class ContainerOptions(ProcessOptions, total=False):
    """All that a container may be given; what is left out is the image's, or Docker's default.

    `volumes` are as docker's -v takes them (SOURCE:TARGET[:OPTIONS]). `ports` maps ports of the container (80 or
    "53/udp") to ports of this machine's loopback, 0 for any that is free. `memory` is in bytes, `cpus` a number of
    processors. Whatever else the Engine API has goes into `config` and `host_config`, under its own names.
    """

    name: str
    entrypoint: Sequence[str]
    hostname: str
    labels: Mapping[str, str]
    volumes: Sequence[str]
    ports: Mapping[int | str, int]
    network: str
    memory: int
    cpus: float
    read_only: bool
    privileged: bool
    init: bool
    config: Mapping[str, Any]
    host_config: Mapping[str, Any]


# What would go wrong further down, where nobody could tell why.
_TYPES: dict[str, tuple[Any, str]] = {
    "env": (Mapping, "a mapping of names to values"),
    "labels": (Mapping, "a mapping of names to values"),
    "ports": (Mapping, "a mapping of the container's ports to this machine's"),
    "volumes": (Sequence, "a list of SOURCE:TARGET[:OPTIONS]"),
    "memory": (int, "a number of bytes"),
    "cpus": ((int, float), "a number of processors"),
}
_PROCESS = {"user": "User", "workdir": "WorkingDir", "tty": "Tty"}
_CONTAINER = {**_PROCESS, "hostname": "Hostname"}
_HOST = {
    "network": "NetworkMode",
    "memory": "Memory",
    "read_only": "ReadonlyRootfs",
    "privileged": "Privileged",
    "init": "Init",
}


def container_body(image: str, command: Sequence[str] | None, options: ContainerOptions) -> dict[str, Any]:
    """The body of a create request. Raises InvalidParameter for a command that is no list of words."""
    _check(options, ContainerOptions)
    body = {"Image": image, **_renamed(options, _CONTAINER)}
    if command is not None:
        body["Cmd"] = _words(command)
    if "entrypoint" in options:
        body["Entrypoint"] = _words(options["entrypoint"])
    if "env" in options:
        body["Env"] = _environment(options["env"])
    if "labels" in options:
        body["Labels"] = dict(options["labels"])
    if "ports" in options:
        body["ExposedPorts"] = {_port(port): {} for port in options["ports"]}
    body |= options.get("config", {})
    body["HostConfig"] = _host_config(options) | body.get("HostConfig", {})
    return body


def exec_body(command: Sequence[str], options: ProcessOptions, *, stdin: bool) -> dict[str, Any]:
    """The body of an exec's create request. Raises InvalidParameter as `container_body`."""
    _check(options, ProcessOptions)
    body = {"Cmd": _words(command), "AttachStdin": stdin, "AttachStdout": True, "AttachStderr": True}
    if "env" in options:
        body["Env"] = _environment(options["env"])
    return body | _renamed(options, _PROCESS)


def _host_config(options: ContainerOptions) -> dict[str, Any]:
    config = _renamed(options, _HOST)
    if "volumes" in options:
        config["Binds"] = list(options["volumes"])
    if "cpus" in options:
        config["NanoCpus"] = round(options["cpus"] * 1_000_000_000)
    if "ports" in options:
        config["PortBindings"] = {
            _port(port): [{"HostIp": _LOOPBACK, "HostPort": str(published)}]
            for port, published in options["ports"].items()
        }
    return config | dict(options.get("host_config", {}))


def _check(options: Mapping[str, Any], kind: Any) -> None:
    for name in options.keys() - kind.__annotations__.keys():
        raise InvalidParameter(f"unknown option: {name}; there are {', '.join(sorted(kind.__annotations__))}")
    for name, (type_, what) in _TYPES.items():
        if name in options and (isinstance(options[name], str) or not isinstance(options[name], type_)):
            raise InvalidParameter(f"{name} is {what}, not {options[name]!r}")


def _renamed(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in options.items() if name in names}


def _words(command: Sequence[str]) -> list[str]:
    if isinstance(command, str):
        raise InvalidParameter('a command is a list of words; for a line of shell: ["sh", "-c", LINE]')
    return list(command)


def _environment(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


def _port(port: int | str) -> str:
    return port if isinstance(port, str) and "/" in port else f"{port}/tcp"
