"""The body of POST /containers/create, made from the flags of `run` and `create`."""

from __future__ import annotations

import os

from knarr.cli.creation import devices, files, mounts, networks, ports, values
from knarr.cli.creation.flags import WINDOWS_ONLY
from knarr.cli.errors import ENGINE_FAILED, CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from knarr.cli.flags import Options

    JSON = dict[str, Any]

_HEALTH_TIMES = {
    "health-interval": "Interval",
    "health-timeout": "Timeout",
    "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}
_PULL = ("always", "missing", "never")


def build(options: Options, environ: Mapping[str, str]) -> JSON:
    """Config, HostConfig and NetworkingConfig of a command line whose first argument is the image.

    Raises CommandError with docker's words for what does not go together.
    """
    _refuse_other_systems(options)
    try:
        body = _config(options, environ)
        body["HostConfig"] = _host_config(options)
        mode, endpoints = networks.attachments(options)
    except (ValueError, OSError) as error:
        raise CommandError(_words_of(error), ENGINE_FAILED, hint=True) from error
    body["HostConfig"]["NetworkMode"] = mode
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return body


def _words_of(error: ValueError | OSError) -> str:
    if isinstance(error, OSError):
        return f"open {error.filename}: {(error.strerror or '').lower()}"
    return str(error)


def _refuse_other_systems(options: Options) -> None:
    where = "is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
    wrong = [f'"--{flag.name}" {where}' for flag in WINDOWS_ONLY if options.given(flag.name)]
    if wrong:
        raise CommandError("\n".join(wrong))


def _config(options: Options, environ: Mapping[str, str]) -> JSON:
    image, *command = options.arguments
    _, anonymous = mounts.parse_volumes(options.words("volume"))
    streams = options.words("attach") or ["stdout", "stderr"]
    attach_stdin = "stdin" in streams or options.on("interactive")
    config: JSON = {
        "Hostname": options.text("hostname"),
        "Domainname": options.text("domainname"),
        "User": options.text("user"),
        "AttachStdin": attach_stdin,
        "AttachStdout": "stdout" in streams,
        "AttachStderr": "stderr" in streams,
        "Tty": options.on("tty"),
        "OpenStdin": options.on("interactive"),
        "StdinOnce": options.on("interactive") and attach_stdin,
        "Env": files.environment(options.words("env-file"), options.words("env"), environ) or None,
        "Cmd": command or None,
        "Image": image,
        "Volumes": anonymous,
        "WorkingDir": options.text("workdir"),
        "Entrypoint": [options.text("entrypoint")] if options.given("entrypoint") else None,
        "OnBuild": None,
        "Labels": files.labels(options.words("label-file"), options.words("label")),
    }
    exposed = [*ports.parse_published(options.words("publish")), *ports.parse_exposed(options.words("expose"))]
    if exposed:
        config["ExposedPorts"] = {port: {} for port in exposed}
    if options.get("stop-signal"):
        config["StopSignal"] = options.text("stop-signal")
    if options.given("stop-timeout"):
        config["StopTimeout"] = options.number("stop-timeout")
    health = _health(options)
    if health:
        config["Healthcheck"] = health
    return config


def _health(options: Options) -> JSON | None:
    given = options.get("health-cmd") or options.get("health-retries") or any(map(options.get, _HEALTH_TIMES))
    if options.on("no-healthcheck"):
        if given:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for name in (*_HEALTH_TIMES, "health-retries"):
        if options.get(name) < 0:
            raise ValueError(f"--{name} cannot be negative")
    if not given:
        return None
    health: JSON = {"Test": ["CMD-SHELL", options.text("health-cmd")]} if options.get("health-cmd") else {}
    health |= {member: options.get(name) for name, member in _HEALTH_TIMES.items() if options.get(name)}
    if options.get("health-retries"):
        health["Retries"] = options.number("health-retries")
    return health


def _host_config(options: Options) -> JSON:
    security, unconfined_paths = files.security_options(options.words("security-opt"))
    added, dropped = _capabilities(options.words("cap-add"), options.words("cap-drop"))
    config: JSON = {
        "ContainerIDFile": options.text("cidfile"),
        "LogConfig": _logging(options),
        "PortBindings": ports.parse_published(options.words("publish")),
        "RestartPolicy": _restart_policy(options),
        "AutoRemove": options.on("rm"),
        "ConsoleSize": [0, 0],
        "CapAdd": added,
        "CapDrop": dropped,
        "CgroupnsMode": _mode(options, "cgroupns", "CGROUP", ("host", "private")),
        "Dns": options.words("dns"),
        "DnsOptions": options.words("dns-option"),
        "DnsSearch": options.words("dns-search"),
        "ExtraHosts": options.words("add-host") or None,
        "GroupAdd": options.words("group-add") or None,
        "IpcMode": options.text("ipc"),
        "Cgroup": "",
        "Links": options.words("link") or None,
        "OomScoreAdj": options.number("oom-score-adj"),
        "PidMode": _mode(options, "pid", "PID", ("host",), container=True),
        "Privileged": options.on("privileged"),
        "PublishAllPorts": options.on("publish-all"),
        "ReadonlyRootfs": options.on("read-only"),
        "SecurityOpt": security if options.given("security-opt") else None,
        "UTSMode": _mode(options, "uts", "UTS", ("host",)),
        "UsernsMode": _user_namespace(options),
        "ShmSize": options.get("shm-size"),
        "Isolation": options.text("isolation"),
        "MaskedPaths": [] if unconfined_paths else None,
        "ReadonlyPaths": [] if unconfined_paths else None,
    }
    for name, member in (("sysctl", "Sysctls"), ("annotation", "Annotations")):
        if options.given(name):
            config[member] = dict(options.words(name))
    if options.given("storage-opt"):
        config["StorageOpt"] = _storage_options(options.words("storage-opt"))
    if options.given("runtime"):
        config["Runtime"] = options.text("runtime")
    if options.given("init"):
        config["Init"] = options.on("init")
    return config | _files(options) | _resources(options)


def _mode(options: Options, name: str, title: str, allowed: tuple[str, ...], *, container: bool = False) -> str:
    mode = options.text(name)
    other = container and mode.startswith("container:") and mode != "container:"
    if mode and mode not in allowed and not other:
        raise ValueError(f"--{name}: invalid {title} mode")
    return mode


def _user_namespace(options: Options) -> str:
    mode = options.text("userns")
    return mode if mode.startswith("auto:") else _mode(options, "userns", "USER", ("host", "auto"))


def _logging(options: Options) -> JSON:
    given = options.words("log-opt")
    if options.get("log-driver") == "none" and given:
        raise ValueError("invalid logging opts for driver none")
    return {"Type": options.text("log-driver"), "Config": dict(_pairs(given))}


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def _storage_options(given: list[str]) -> dict[str, str]:
    if not all("=" in option for option in given):
        raise ValueError("invalid storage option")
    return dict(_pairs(given))


def _restart_policy(options: Options) -> JSON:
    policy = values.restart_policy(options.text("restart"))
    if options.on("rm") and policy["Name"] not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    return policy


def _capabilities(add: list[str], drop: list[str]) -> tuple[list[str] | None, list[str] | None]:
    """Both lists with full names; what is added is not dropped, and ALL stands for every other."""
    added, dropped = ({_capability(name) for name in names} for names in (add, drop))
    dropped = {"ALL"} if "ALL" in dropped else dropped - added
    added = {"ALL"} if "ALL" in added else added
    return sorted(added) or None, sorted(dropped) or None


def _capability(name: str) -> str:
    name = name.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _files(options: Options) -> JSON:
    binds, _ = mounts.parse_volumes(options.words("volume"))
    config: JSON = {
        "Binds": binds or None,
        "VolumeDriver": options.text("volume-driver"),
        "VolumesFrom": options.words("volumes-from") or None,
    }
    if options.given("secret"):
        config["Secrets"] = options.words("secret")
    if options.given("mount"):
        config["Mounts"] = options.words("mount")
    if options.given("tmpfs"):
        config["Tmpfs"] = mounts.parse_tmpfs(options.words("tmpfs"))
    return config


def _resources(options: Options) -> JSON:
    device_files, cdi_names = devices.parse_devices(options.words("device"))
    requests = [options.get("gpus")] if options.given("gpus") else []
    if cdi_names:
        members = {"Count": 0, "DeviceIDs": cdi_names, "Capabilities": None, "Options": None}
        requests.append({"Driver": "cdi", **members})
    swappiness = options.number("memory-swappiness")
    if not -1 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    ulimits = {limit["Name"]: limit for limit in options.words("ulimit")}
    return {
        "CpuShares": options.number("cpu-shares"),
        "Memory": options.get("memory"),
        "NanoCpus": options.get("cpus"),
        "CgroupParent": options.text("cgroup-parent"),
        "BlkioWeight": options.get("blkio-weight"),
        "BlkioWeightDevice": options.words("blkio-weight-device"),
        "BlkioDeviceReadBps": options.words("device-read-bps"),
        "BlkioDeviceWriteBps": options.words("device-write-bps"),
        "BlkioDeviceReadIOps": options.words("device-read-iops"),
        "BlkioDeviceWriteIOps": options.words("device-write-iops"),
        "CpuPeriod": options.number("cpu-period"),
        "CpuQuota": options.number("cpu-quota"),
        "CpuRealtimePeriod": options.number("cpu-rt-period"),
        "CpuRealtimeRuntime": options.number("cpu-rt-runtime"),
        "CpusetCpus": options.text("cpuset-cpus"),
        "CpusetMems": options.text("cpuset-mems"),
        "Devices": device_files,
        "DeviceCgroupRules": options.words("device-cgroup-rule") or None,
        "DeviceRequests": requests or None,
        "MemoryReservation": options.get("memory-reservation"),
        "MemorySwap": options.get("memory-swap"),
        "MemorySwappiness": swappiness,
        "OomKillDisable": options.on("oom-kill-disable"),
        "PidsLimit": options.number("pids-limit"),
        "Ulimits": [ulimits[name] for name in sorted(ulimits)],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def check_request(options: Options) -> None:
    """What is checked before the image is looked for: --pull, --platform and --cidfile. Raises CommandError."""
    if options.get("pull") not in _PULL:
        allowed = '"always", "missing" or "never"'
        wrong = f"invalid pull option: '{options.get('pull')}': must be one of {allowed}"
        raise CommandError(wrong, ENGINE_FAILED, hint=True)
    if options.text("platform").count("/") > 2:
        specified = f'error parsing specified platform: "{options.text("platform")}"'
        raise CommandError(f"{specified}: cannot parse platform specifier: invalid argument")
    path = options.text("cidfile")
    if path and os.path.exists(path):
        raise CommandError(f"container ID file found, make sure the other container isn't running or delete {path}")
