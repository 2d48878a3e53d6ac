"""knarr info"""

from __future__ import annotations

import sys

from knarr import __version__
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.formatting import compile_template
from knarr.cli.inspection import FORMAT_FLAG
from knarr.cli.units import binary_size
from knarr.client import system
from knarr.client.errors import EngineError
from knarr.errors import KnarrError
from knarr.template import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CLIENT = {"Debug": False, "Version": __version__, "Context": "default", "Plugins": [], "Warnings": None}


def _run(invocation: Invocation) -> int:
    layout = invocation.options.text("format")
    template = compile_template("{{json .}}" if layout == "json" else layout) if layout else None
    found: dict[str, Any] = {}
    failure = None
    try:
        found = dict(invocation.session.engine.call(system.info()))
    except KnarrError as error:
        failure = error
    if template is None:
        print(f"Client:\n Version:    {__version__}\n Context:    default\n Debug Mode: false\n\nServer:")
        if found:
            print("\n".join(_describe(found)), end="\n\n")
    elif failure is None:
        try:
            print(template.render(found | {"ClientInfo": _CLIENT}))
        except TemplateError as error:
            raise CommandError(f"template parsing error: {error}") from error
    sys.stdout.flush()
    for warning in (found.get("Warnings") or []) if template is None else []:
        print(warning, file=sys.stderr)
    if failure is not None:
        raise CommandError(f"{'Error response from daemon: ' if isinstance(failure, EngineError) else ''}{failure}")
    return 0


def _describe(info: dict[str, Any]) -> list[str]:
    """Lines of the engine's part: what it does not tell is left out."""
    lines = [f" Containers: {info.get('Containers', 0)}"]
    lines += [f"  {state}: {info.get(f'Containers{state}', 0)}" for state in ("Running", "Paused", "Stopped")]
    lines += [f" Images: {info.get('Images', 0)}"]
    lines += _present(info, (("ServerVersion", "Server Version"), ("Driver", "Storage Driver")))
    lines += [f"  {name}: {value}" for name, value in info.get("DriverStatus") or []]
    lines += _present(info, (("LoggingDriver", "Logging Driver"), ("CgroupDriver", "Cgroup Driver")))
    lines += _present(info, (("CgroupVersion", "Cgroup Version"),))
    plugins = {kind: names for kind, names in (info.get("Plugins") or {}).items() if names}
    if plugins:
        lines += [" Plugins:"] + [f"  {kind}: {' '.join(names)}" for kind, names in plugins.items()]
    swarm = (info.get("Swarm") or {}).get("LocalNodeState") or "inactive"
    runtimes = " ".join(sorted(info.get("Runtimes") or {}))
    lines += [f" Swarm: {swarm}", f" Runtimes: {runtimes}"]
    lines += _present(info, (("DefaultRuntime", "Default Runtime"), ("InitBinary", "Init Binary")))
    for member, title in (("ContainerdCommit", "containerd"), ("RuncCommit", "runc"), ("InitCommit", "init")):
        if (info.get(member) or {}).get("ID"):
            lines.append(f" {title} version: {info[member]['ID']}")
    return lines + _security(info) + _system(info)


def _security(info: dict[str, Any]) -> list[str]:
    options = info.get("SecurityOptions") or []
    lines = [" Security Options:"] if options else []
    for option in options:
        fields = dict(field.partition("=")[::2] for field in option.split(","))
        lines.append(f"  {fields.pop('name', option)}")
        lines += [f"   {'Profile' if name == 'profile' else name}: {value}" for name, value in fields.items()]
    return lines


def _system(info: dict[str, Any]) -> list[str]:
    lines = _present(
        info,
        (
            ("KernelVersion", "Kernel Version"),
            ("OperatingSystem", "Operating System"),
            ("OSType", "OSType"),
            ("Architecture", "Architecture"),
            ("NCPU", "CPUs"),
        ),
    )
    if "MemTotal" in info:
        lines.append(f" Total Memory: {binary_size(info['MemTotal'])}")
    lines += _present(info, (("Name", "Name"), ("ID", "ID"), ("DockerRootDir", "Docker Root Dir")))
    lines.append(f" Debug Mode: {str(bool(info.get('Debug'))).lower()}")
    proxies = (("HttpProxy", "HTTP Proxy"), ("HttpsProxy", "HTTPS Proxy"), ("NoProxy", "No Proxy"))
    lines += [line for line in _present(info, proxies) if not line.endswith(": ")]
    if info.get("Labels"):
        lines += [" Labels:"] + [f"  {label}" for label in info["Labels"]]
    lines.append(f" Experimental: {str(bool(info.get('ExperimentalBuild'))).lower()}")
    registries = info.get("RegistryConfig") or {}
    insecure = [name for name, entry in (registries.get("IndexConfigs") or {}).items() if not entry.get("Secure", True)]
    insecure += registries.get("InsecureRegistryCIDRs") or []
    if insecure:
        lines += [" Insecure Registries:"] + [f"  {name}" for name in insecure]
    lines.append(f" Live Restore Enabled: {str(bool(info.get('LiveRestoreEnabled'))).lower()}")
    return lines


def _present(info: dict[str, Any], members: tuple[tuple[str, str], ...]) -> list[str]:
    return [f" {title}: {info[name]}" for name, title in members if name in info]


COMMAND = Command("[OPTIONS]", _run, flags=(FORMAT_FLAG,), examples=[("The storage driver", "info -f '{{.Driver}}'")])
