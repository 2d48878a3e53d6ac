"""A walk through an engine's whole API: each endpoint called so that it succeeds, and so that it is refused."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from api_contract import Answer, Contract, Operation, ask

IMAGE = "busybox:latest"
_NOBODY = "nobody-of-this-name"
_PLUGIN_ACTIONS = ("enable", "disable", "upgrade", "push", "set")


class Tour:
    """Requests and what is wrong with their answers. `expected` statuses that do not come are faults too."""

    def __init__(self, contract: Contract, socket: Path) -> None:
        self.contract = contract
        self.faults: list[str] = []
        self.succeeded: set[Operation] = set()
        self.seen: set[Operation] = set()
        self._socket = socket

    def ask(
        self, method: str, target: str, body: Any = None, status: int = 200, type: str = "application/json"
    ) -> Answer:
        """Call an endpoint and judge its answer."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = ask(self._socket, method, target, data, type)
        operation = self.contract.find(method, target)
        assert operation is not None, target
        self.seen.add(operation)
        if answer.status < 400:
            self.succeeded.add(operation)
        faults = self.contract.faults(operation, answer)
        if answer.status != status:
            faults.append(f"status {answer.status}, not {status}: {answer.body[:200]!r}")
        self.faults += [f"{method} {target}: {fault}" for fault in faults]
        return answer

    def make(self, method: str, target: str, body: Any = None, status: int = 201) -> dict[str, Any]:
        """As `ask`, for its document."""
        document = self.ask(method, target, body, status).document
        assert isinstance(document, dict) and "message" not in document, document
        return document

    # The stations

    def whole(self) -> None:
        """All of it."""
        self.system()
        self.images()
        self.builds()
        self.volumes()
        self.networks()
        self.containers()
        self.execs()
        self.files()
        self.archives()
        self.refusals()
        self.swarm()
        self.prune()

    def system(self) -> None:
        for path in ("/version", "/info", "/_ping", "/plugins"):
            self.ask("GET", path)
        self.ask("HEAD", "/_ping")

    def images(self) -> None:
        self.ask("POST", f"/images/{IMAGE}/tag?repo=toured&tag=one", status=201)
        self.ask("POST", f"/images/create?fromSrc=-&repo=imported&changes={quote('CMD sh')}", _tar({"a": b"b"}))
        for name in (IMAGE, "toured:one", "imported", "host"):
            self.ask("GET", f"/images/{name}/json")
            self.ask("GET", f"/images/{name}/history")
        self.ask("GET", f"/images/{IMAGE}/json?manifests=1")
        for query in ("", "?all=1&digests=1&shared-size=1", f"?filters={quote(json.dumps({'reference': ['toured']}))}"):
            self.ask("GET", f"/images/json{query}")
        self.ask("DELETE", "/images/toured:one")
        self.ask("DELETE", "/images/imported")

    def builds(self) -> None:
        context = _tar({"Dockerfile": f"FROM {IMAGE}\nRUN echo built > /built\nLABEL a=b\n".encode()})
        self.ask("POST", "/build?t=built", context, type="application/x-tar")
        self.ask("POST", "/build", _tar({"Dockerfile": b"NONSENSE\n"}), 400, type="application/x-tar")
        self.ask("GET", "/images/built/json")
        self.ask("GET", "/system/df")
        self.ask("DELETE", "/images/built")
        self.ask("POST", "/build/prune?all=1")
        self.ask("POST", "/images/no-such-image/push")  # told in the stream

    def volumes(self) -> None:
        self.make("POST", "/volumes/create", {})
        self.make("POST", "/volumes/create", {"Name": "toured", "Labels": {"a": "b"}})
        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
        self.make("POST", "/volumes/create", {"Name": "toured-2", "DriverOpts": options})
        self.ask("GET", "/volumes")
        self.ask("GET", "/volumes/toured")
        self.ask("GET", "/volumes/toured-2")
        self.ask("DELETE", "/volumes/toured-2", status=204)

    def networks(self) -> None:
        ipam = {"Config": [{"Subnet": "10.213.7.0/24", "Gateway": "10.213.7.1", "IPRange": "10.213.7.128/25"}]}
        body = {"Name": "toured", "Driver": "bridge", "IPAM": ipam, "Labels": {"a": "b"}, "Internal": True}
        self.make("POST", "/networks/create", body)
        for name in ("toured", "bridge", "host", "none"):
            self.ask("GET", f"/networks/{name}?verbose=1")
        self.ask("GET", "/networks")

    def containers(self) -> None:
        host = {
            "Binds": ["toured:/data", "/tmp:/host:ro"],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "Memory": 64 << 20,
            "NanoCpus": 500_000_000,
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "Tmpfs": {"/scratch": "size=1m"},
            "Mounts": [{"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 1 << 20}}],
            "ExtraHosts": ["x:1.2.3.4"],
            "CapAdd": ["NET_ADMIN"],
            "Sysctls": {"net.ipv4.ip_forward": "1"},
        }
        body = {
            "Image": IMAGE,
            "Cmd": ["sh", "-c", "echo out; echo err >&2; exec sleep 600"],
            "Env": ["A=b"],
            "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}, "90/udp": {}},
            "Volumes": {"/anonymous": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
            "StopTimeout": 1,
            "HostConfig": host,
            "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}},
        }
        made = self.make("POST", "/containers/create?name=toured", body)
        self.ask("GET", "/containers/toured/json?size=1")
        self.ask("POST", f"/containers/{made['Id']}/start", status=204)
        self.ask("POST", "/containers/toured/start", status=304)
        self.ask("POST", "/networks/toured/connect", {"Container": "toured", "EndpointConfig": {"Aliases": ["t"]}})
        self._while_running()
        self.ask("POST", "/networks/toured/disconnect", {"Container": "toured", "Force": True})
        self.ask("POST", "/containers/toured/restart?t=0", status=204)
        self.ask("POST", "/containers/toured/stop?t=0", status=204)
        self.ask("POST", "/containers/toured/stop", status=304)
        for query in ("?all=1", "?all=1&size=1"):
            self.ask("GET", f"/containers/json{query}")
        self.ask("GET", "/containers/toured/json")
        self.ask("GET", "/containers/toured/stats?stream=0")
        self.ask("POST", "/containers/toured/wait")
        self.ask("GET", "/containers/toured/logs?stdout=1&stderr=1&timestamps=1&details=1")
        self._short_ones()

    def _while_running(self) -> None:
        self.ask("GET", "/containers/toured/json")
        self.ask("GET", "/networks/toured")
        self.ask("GET", "/containers/json?size=1")
        self.ask("GET", "/containers/toured/top")
        self.ask("GET", "/containers/toured/top?ps_args=-o%20pid,args")
        self.ask("GET", "/containers/toured/stats?stream=0")
        self.ask("GET", "/containers/toured/stats?stream=0&one-shot=1")
        self.ask("GET", "/containers/toured/changes")
        self.ask("POST", "/containers/toured/pause", status=204)
        self.ask("GET", "/containers/toured/json")
        self.ask("POST", "/containers/toured/unpause", status=204)
        self.ask("POST", "/containers/toured/update", {"Memory": 128 << 20, "MemorySwap": -1})
        self.ask("POST", "/containers/toured/rename?name=toured-2", status=204)
        self.ask("POST", "/containers/toured-2/rename?name=toured", status=204)
        self.ask("POST", "/containers/toured/kill?signal=CONT", status=204)
        self.ask("GET", "/containers/toured/logs?stdout=1&tail=1")

    def _short_ones(self) -> None:
        """Of a terminal, of none, failing to start."""
        self.make("POST", "/containers/create?name=terminal", {"Image": IMAGE, "Tty": True, "Cmd": ["sleep", "600"]})
        self.ask("POST", "/containers/terminal/start", status=204)
        self.ask("POST", "/containers/terminal/resize?h=40&w=120")
        self.ask("DELETE", "/containers/terminal?force=1&v=1", status=204)
        self.make("POST", "/containers/create?name=broken", {"Image": IMAGE, "Cmd": ["no-such-program"]})
        self.ask("POST", "/containers/broken/start", status=400)
        self.ask("GET", "/containers/broken/json")
        self.ask("POST", "/containers/broken/wait")
        self.ask("POST", "/containers/broken/attach?logs=1&stdout=1")
        self.ask("DELETE", "/containers/broken", status=204)
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "AutoRemove": True}}
        self.make("POST", "/containers/create?name=brief", body)
        self.ask("POST", "/containers/brief/start", status=204)

    def execs(self) -> None:
        self.ask("POST", "/containers/toured/start", status=204)
        body = {"Cmd": ["sh", "-c", "echo hi; exit 3"], "AttachStdout": True, "Env": ["A=b"], "User": "root"}
        made = self.make("POST", "/containers/toured/exec", body)
        self.ask("GET", f"/exec/{made['Id']}/json")
        self.ask("POST", f"/exec/{made['Id']}/start", {"Detach": False})
        self.ask("GET", f"/exec/{made['Id']}/json")
        made = self.make("POST", "/containers/toured/exec", {"Cmd": ["sleep", "600"], "Tty": True})
        self.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True, "Tty": True})
        self.ask("POST", f"/exec/{made['Id']}/resize?h=40&w=120")
        self.ask("GET", f"/exec/{made['Id']}/json")

    def files(self) -> None:
        self.ask("PUT", "/containers/toured/archive?path=/tmp", _tar({"file": b"content"}), type="application/x-tar")
        self.ask("HEAD", "/containers/toured/archive?path=/tmp/file")
        self.ask("GET", "/containers/toured/archive?path=/tmp/file")
        self.ask("GET", "/containers/toured/changes")
        self.ask("GET", "/containers/toured/export")

    def archives(self) -> None:
        body = {"Cmd": ["sh"], "Env": ["C=d"]}
        made = self.make("POST", "/commit?container=toured&repo=committed&comment=c&author=a", body)
        self.ask("GET", f"/images/{made['Id']}/json")
        self.ask("GET", "/images/committed/history")
        saved = self.ask("GET", "/images/committed/get")
        self.ask("GET", f"/images/get?names={IMAGE}&names=committed")
        self.ask("DELETE", "/images/committed")
        self.ask("POST", "/images/load", saved.body, type="application/x-tar")
        self.ask("POST", "/images/load?quiet=1", saved.body, type="application/x-tar")
        self.ask("DELETE", "/images/committed?force=1")

    def refusals(self) -> None:
        """What is not there, or not possible."""
        for operation in sorted(self.contract.operations):
            if operation.path.startswith(("/containers/{id}", "/exec/{id}", "/volumes/{name}", "/networks/{id}")):
                path = operation.path.replace("{id}", _NOBODY).replace("{name}", _NOBODY)
                if path.endswith(("archive", "rename", "resize")):
                    path += "?path=/&name=other&h=1&w=1"
                if path.endswith("/logs"):
                    path += "?stdout=1"
                if operation not in self._unserved and not path.endswith("/ws"):
                    self.ask(operation.method, path, _body_for(operation), status=404)
        self.ask("POST", "/containers/create", {"Image": "no-such-image"}, status=404)
        self.ask("POST", "/containers/create?name=toured", {"Image": IMAGE, "Cmd": ["x"]}, status=409)
        self.ask("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["x"], "HostConfig": {"Memory": 1}}, status=400)
        self.ask("POST", "/containers/create", b"{", status=400)
        self.ask("DELETE", "/containers/toured", status=409)
        self.ask("DELETE", f"/images/{IMAGE}", status=409)
        self.ask("GET", "/images/no-such-image/json", status=404)
        self.ask("GET", "/containers/json?filters=%7B%22x%22%3A%5B%22y%22%5D%7D", status=400)
        self.ask("DELETE", "/networks/bridge", status=403)
        for method, path in (("GET", "/json"), ("DELETE", ""), *(("POST", f"/{name}") for name in _PLUGIN_ACTIONS)):
            self.ask(method, f"/plugins/{_NOBODY}{path}", status=404)

    def swarm(self) -> None:
        """There is none, which has statuses of its own."""
        for operation in sorted(self.contract.operations):
            resource = operation.path.split("/")[1]
            if resource in ("nodes", "services", "tasks", "secrets", "configs"):
                self.ask(operation.method, operation.path.replace("{id}", _NOBODY), {}, status=503)
        for path in ("/swarm/init", "/swarm/join"):
            self.ask("POST", path, {}, status=400)
        for path in ("/swarm/leave", "/swarm/update", "/swarm/unlock"):
            self.ask("POST", path, {}, status=503)
        for path in ("/swarm", "/swarm/unlockkey"):
            self.ask("GET", path, status=503)

    def prune(self) -> None:
        self.ask("GET", "/system/df")
        for kind in ("container", "image", "volume"):
            self.ask("GET", f"/system/df?type={kind}")
        self.ask("GET", f"/events?since=0&until={time.time():.9f}")
        self.ask("DELETE", "/containers/toured?force=1", status=204)
        for kind in ("containers", "images", "networks", "volumes"):
            self.ask("POST", f"/{kind}/prune")
        self.ask("GET", f"/events?since=0&until={time.time():.9f}")

    @property
    def _unserved(self) -> set[Operation]:
        return {Operation("PUT", "/volumes/{name}")}


def _body_for(operation: Operation) -> Any:
    if operation.method == "PUT":
        return _tar({})
    bodies: dict[str, Any] = {"exec": {"Cmd": ["x"]}, "connect": {"Container": "x"}, "disconnect": {"Container": "x"}}
    ending = operation.path.rpartition("/")[2]
    if operation.method == "POST" and ending in ("update", "start") and not operation.path.startswith("/containers"):
        return {}
    return bodies.get(ending, {} if ending == "update" else None)


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
