"""The engine as a whole: version, info and disk usage, in the Engine API's JSON."""

from __future__ import annotations

import asyncio
import os
import platform
import uuid
from typing import Any

import knarr
from knarr.engine import apparmor_profile, exposition, times
from knarr.engine.build_cache import BuildCacheService
from knarr.engine.containers import Containers
from knarr.engine.image_service import ImageService
from knarr.engine.log_settings import DRIVERS
from knarr.engine.parts import Parts
from knarr.errors import InvalidParameter
from knarr.images import platforms
from knarr.kernel import user_namespaces

API_VERSION = "1.50"
MIN_API_VERSION = "1.24"

_CONTROLLERS = ("memory", "cpu", "cpuset", "pids")
_OBJECTS = ("image", "container", "volume", "build-cache")


class SystemService:
    """Answers questions about the engine and its host."""

    def __init__(
        self, parts: Parts, containers: Containers, images: ImageService, build_cache: BuildCacheService
    ) -> None:
        self._parts = parts
        self._containers = containers
        self._images = images
        self._build_cache = build_cache

    def version(self) -> dict[str, Any]:
        """The API's SystemVersion."""
        kernel = os.uname().release
        arch = platforms.of_host().architecture
        details = {
            "ApiVersion": API_VERSION,
            "Arch": arch,
            "BuildTime": "",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": _python(),
            "KernelVersion": kernel,
            "MinAPIVersion": MIN_API_VERSION,
            "Os": "linux",
        }
        return {
            "Platform": {"Name": "knarr"},
            "Components": [{"Name": "Engine", "Version": knarr.__version__, "Details": details}],
            "Version": knarr.__version__,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": MIN_API_VERSION,
            "GitCommit": "",
            "GoVersion": _python(),
            "Os": "linux",
            "Arch": arch,
            "KernelVersion": kernel,
            "BuildTime": "",
        }

    async def info(self) -> dict[str, Any]:
        """The API's SystemInfo."""
        info = self._counts() | self._host() | self._abilities() | self._configuration()
        return info | {"Warnings": warnings(info)}

    def _counts(self) -> dict[str, Any]:
        statuses = [container.state.status for container in self._parts.registry.all()]
        running, paused = statuses.count("running") + statuses.count("restarting"), statuses.count("paused")
        return {
            "ID": self.engine_id(),
            "Containers": len(statuses),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(statuses) - running - paused,
            "Images": len(self._parts.images.all()),
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(asyncio.all_tasks()),
            "NEventsListener": self._parts.events.listeners,
            "SystemTime": times.rfc3339(times.now()),
        }

    def engine_id(self) -> str:
        """What tells this engine from others."""
        path = self._parts.settings.data_root / "engine-id"
        try:
            return path.read_text()
        except FileNotFoundError:
            path.write_text(str(uuid.uuid4()))
            return path.read_text()

    def _host(self) -> dict[str, Any]:
        release = platform.freedesktop_os_release() if os.path.exists("/etc/os-release") else {}
        uname = os.uname()
        return {
            "KernelVersion": uname.release,
            "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
            "OSVersion": release.get("VERSION_ID", ""),
            "OSType": "linux",
            "Architecture": uname.machine,
            "NCPU": self._parts.facts.cpu_count,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "Name": uname.nodename,
        }

    def _abilities(self) -> dict[str, Any]:
        facts = self._parts.facts
        controllers = facts.hierarchies.controllers
        v2 = facts.hierarchies.mode == "v2"
        if facts.delegated is not None:
            controllers = dict.fromkeys(facts.delegated, "")
        has = {name: name in controllers or (v2 and facts.delegated is None) for name in _CONTROLLERS}
        return {
            "MemoryLimit": has["memory"],
            "SwapLimit": facts.swap_limit,
            "CpuCfsPeriod": has["cpu"],
            "CpuCfsQuota": has["cpu"],
            "CPUShares": has["cpu"],
            "CPUSet": has["cpuset"],
            "PidsLimit": has["pids"],
            "OomKillDisable": facts.oom_kill_disable,
            "IPv4Forwarding": _forwards(),
            "BridgeNfIptables": False,
            "BridgeNfIp6tables": False,
            "CgroupDriver": "none" if facts.hierarchies.mode == "none" else "cgroupfs",
            "CgroupVersion": "2" if v2 else "1",
            "SecurityOptions": self._security_options(v2=v2),
        }

    def _security_options(self, *, v2: bool) -> list[str]:
        options = ["name=apparmor"] if apparmor_profile.supported() else []
        options += ["name=seccomp,profile=builtin"]
        options += ["name=userns"] if self._parts.settings.remap_users else []
        options += ["name=rootless"] if user_namespaces.inside() else []
        return options + (["name=cgroupns"] if v2 else [])

    def _configuration(self) -> dict[str, Any]:
        parts, settings = self._parts, self._parts.settings
        runtimes: dict[str, Any] = {name: {"path": backend.path} for name, backend in parts.backends.items()}
        return {
            "Driver": parts.layers.driver,
            "DriverStatus": [list(row) for row in parts.layers.status()],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
                "Authorization": [],
                "Log": sorted(DRIVERS),
            },
            "Debug": settings.debug,
            "LoggingDriver": settings.log_driver,
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": _registries(settings.insecure_registries, settings.registry_mirrors),
            "GenericResources": [],
            "DockerRootDir": str(settings.data_root),
            "HttpProxy": os.environ.get("HTTP_PROXY", ""),
            "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
            "NoProxy": os.environ.get("NO_PROXY", ""),
            "Labels": settings.labels,
            "ExperimentalBuild": False,
            "ServerVersion": knarr.__version__,
            "Runtimes": runtimes,
            "DefaultRuntime": settings.runtime,
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": False,
                "Error": "",
                "RemoteManagers": None,
            },
            "LiveRestoreEnabled": settings.live_restore,
            "Isolation": "",
            "InitBinary": "knarr-init",
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": ""},
            "InitCommit": {"ID": ""},
            "ProductLicense": "",
            "DefaultAddressPools": [{"Base": base, "Size": size} for base, size in settings.address_pools],
        }

    async def metrics(self) -> str:
        """Figures of the engine and its containers, in Prometheus's text format."""
        host = self._host()
        labels = {
            "daemon_id": self.engine_id(),
            "architecture": host["Architecture"],
            "commit": "",
            "kernel": host["KernelVersion"],
            "os": host["OperatingSystem"],
            "os_type": host["OSType"],
            "os_version": host["OSVersion"],
        }
        return await exposition.text(self._parts, labels)

    async def disk_usage(self, types: list[str]) -> dict[str, Any]:
        """The API's SystemDataUsageResponse; only of `types` if any are given. Raises InvalidParameter."""
        for name in types:
            if name not in _OBJECTS:
                raise InvalidParameter(f"unknown object type: {name}")
        wanted = types or _OBJECTS
        usage: dict[str, Any] = {"BuildCache": [], "BuilderSize": 0}
        if "build-cache" in wanted:
            rows = await asyncio.to_thread(self._build_cache.rows)
            usage = {"BuildCache": rows, "BuilderSize": await asyncio.to_thread(self._build_cache.size)}
        if "image" in wanted:
            usage["LayersSize"] = await asyncio.to_thread(self._images.layers_size)
            usage["Images"] = self._images.list(shared_size=True, containers=True)
        if "container" in wanted:
            usage["Containers"] = await self._containers.list(all=True, size=True)
        if "volume" in wanted:
            usage["Volumes"] = await self._parts.volumes.usage()
        return usage


_LIMITS = {
    "MemoryLimit": "No memory limit support",
    "SwapLimit": "No swap limit support",
    "OomKillDisable": "No oom kill disable support",
    "CpuCfsQuota": "No cpu cfs quota support",
    "CpuCfsPeriod": "No cpu cfs period support",
    "CPUShares": "No cpu shares support",
    "CPUSet": "No cpuset support",
    "IPv4Forwarding": "IPv4 forwarding is disabled",
}


def warnings(info: dict[str, Any]) -> list[str]:
    """What this host cannot do, in dockerd's words; `knarr doctor` knows more."""
    absent = [name for name in _LIMITS if not info[name]]
    if info["CgroupVersion"] == "2":  # it has no such control, and nobody misses it
        absent = [name for name in absent if name != "OomKillDisable"]
    return [f"WARNING: {_LIMITS[name]}" for name in absent]


def _python() -> str:
    return f"python{platform.python_version()}"


def _forwards() -> bool:
    with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
        return file.read().strip() == "1"


def _registries(insecure: list[str], mirrors: list[str]) -> dict[str, Any]:
    cidrs = [name for name in insecure if "/" in name]
    index = {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}
    hosts = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
        for name in insecure
        if name not in cidrs
    }
    return {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", *cidrs],
        "IndexConfigs": {"docker.io": index, **hosts},
        "Mirrors": mirrors,
    }
