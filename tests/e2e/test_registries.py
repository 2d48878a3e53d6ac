"""Registries, through the docker CLI, docker-py and what a killed engine leaves."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import registries
from archive_of import archive_of
from harness import Daemon
from publishing import Shelf, digest, noise
from registries import Proxy
from rootful import LOOPBACK

pytestmark = LOOPBACK

IMAGE = "busybox:latest"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with registries.running(tmp_path_factory.mktemp("registry")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with registries.with_passwords(tmp_path_factory.mktemp("guarded")) as proxy:
        yield proxy


def test_push_pull_run(engine_host: Daemon, registry: Proxy) -> None:
    docker, name = engine_host.text, f"{registry.name}/e/box:1"
    id = docker("image", "inspect", "-f", "{{.Id}}", IMAGE)
    docker("tag", IMAGE, name)
    pushed = docker("push", name).splitlines()[-1]
    assert pushed.startswith("1: digest: sha256:")
    digest = pushed.split()[2]
    docker("rmi", name)
    pulled = docker("pull", name).splitlines()
    assert pulled[0] == "1: Pulling from e/box"
    assert pulled[-3:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}", name]
    assert docker("image", "inspect", "-f", "{{.Id}}", name) == id
    assert docker("pull", name).splitlines()[-2] == f"Status: Image is up to date for {name}"
    assert digest in docker("images", "--digests", f"{registry.name}/e/box")
    by_digest = f"{registry.name}/e/box@{digest}"
    assert docker("run", "--rm", "--network", "none", by_digest, "echo", "hi") == "hi"
    assert f"Untagged: {by_digest}" in docker("rmi", name)


def test_run_pulls(engine_host: Daemon, registry: Proxy) -> None:
    name = f"{registry.name}/e/run:1"
    engine_host.docker("tag", IMAGE, name)
    engine_host.docker("push", name)
    engine_host.docker("rmi", name)
    done = engine_host.docker("run", "--rm", "--network", "none", name, "echo", "hi")
    assert done.stdout == b"hi\n" and b"Unable to find image" in done.stderr
    done = engine_host.docker("run", "--rm", "--pull", "always", "--network", "none", name, "echo", "hi")
    assert b"Image is up to date" in done.stderr
    engine_host.docker("rmi", name)


def test_all_tags(engine_host: Daemon, registry: Proxy) -> None:
    name = f"{registry.name}/e/all"
    for tag in "ab":
        engine_host.docker("tag", IMAGE, f"{name}:{tag}")
    engine_host.docker("push", "--all-tags", name)
    engine_host.docker("rmi", f"{name}:a", f"{name}:b")
    assert engine_host.text("pull", "--all-tags", name).splitlines()[-2] == f"Status: Downloaded newer image for {name}"
    engine_host.docker("rmi", f"{name}:a", f"{name}:b")


def test_logging_in_and_out(engine_host: Daemon, guarded: Proxy) -> None:
    docker, name = engine_host.docker, f"{guarded.name}/e/box:1"
    wrong = docker("login", "-u", "joe", "-p", "x", guarded.name, check=False)
    assert wrong.returncode and b"401" in wrong.stderr
    assert b"Login Succeeded" in docker("login", "-u", "joe", "--password-stdin", guarded.name, input=b"s3cret").stdout
    docker("tag", IMAGE, name)
    docker("push", name)
    docker("rmi", name)
    docker("pull", name)
    docker("rmi", name)
    docker("logout", guarded.name)
    assert b"no basic auth credentials" in docker("pull", name, check=False).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pull", "REG/e/none:1"], "manifest for REG/e/none:1 not found: manifest unknown"),
        (
            ["pull", "127.0.0.1:1/a:1"],
            'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
        ),
        (["push", "REG/e/never:1"], "An image does not exist locally with the tag: REG/e/never"),
        (["pull", "REG/Bad"], "must be lowercase"),
        (["pull", "--platform", "a/b/c/d", "REG/e/none:1"], "cannot parse platform specifier"),
        (["search", "REG/thing"], "has no search"),
    ],
)
def test_refusals(engine_host: Daemon, registry: Proxy, arguments: list[str], words: str) -> None:
    done = engine_host.docker(*(one.replace("REG", registry.name) for one in arguments), check=False)
    assert done.returncode == 1 and words.replace("REG", registry.name) in done.stderr.decode()


def test_search(engine_host: Daemon, registry: Proxy) -> None:
    found = [
        {"name": "a/one", "description": "first", "star_count": 7, "is_official": True},
        {"name": "a/two", "description": None, "star_count": 2},
    ]
    registry.routes["/v1/search"] = lambda handler, _: registries.answer(
        handler, 200, json.dumps({"results": found}).encode()
    )
    rows = engine_host.text("search", "--format", "{{.Name}} {{.StarCount}}", f"{registry.name}/a").splitlines()
    assert rows == ["a/one 7", "a/two 2"]
    rows = engine_host.text("search", "--filter", "stars=3", "--format", "{{.Name}}", f"{registry.name}/a").splitlines()
    assert rows == ["a/one"]
    del registry.routes["/v1/search"]


def test_docker_py(docker_py: Any, registry: Proxy) -> None:
    name = f"{registry.name}/e/py"
    assert docker_py.images.get(IMAGE).tag(name, "1")
    lines = list(docker_py.api.push(name, "1", stream=True, decode=True))
    digest = lines[-1]["aux"]["Digest"]
    assert docker_py.images.get_registry_data(f"{name}:1").id == digest
    docker_py.images.remove(f"{name}:1")
    image = docker_py.images.pull(name, "1")
    assert image.attrs["RepoDigests"] == [f"{name}@{digest}"]
    docker_py.images.remove(f"{name}:1")


def files_of_last_layer(image: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(image)) as archive:
        (about,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        with tarfile.open(fileobj=archive.extractfile(about["Layers"][-1])) as layer:
            return layer.getnames()


def test_a_windows_image_is_kept_and_not_run(engine_host: Daemon, registry: Proxy) -> None:
    shelf = Shelf(registry.name, "e/windows")
    about = {"os": "windows", "os.version": "10.0.20348.1"}
    shelf.image(archive_of({"Files/a": b"1", "Hives/b": b"2"}), tags=("1",), **about)
    docker, name = engine_host.docker, f"{shelf.name}:1"
    docker("pull", "--platform", "windows/amd64", name)
    shown = engine_host.text("image", "inspect", "-f", "{{.Os}} {{.OsVersion}} {{.Architecture}}", name)
    assert shown == "windows 10.0.20348.1 amd64"
    done = docker("run", "--rm", name, check=False)
    assert done.returncode == 125 and b'image operating system "windows" cannot be used on this platform' in done.stderr
    docker("load", input=docker("save", name).stdout)
    docker("push", name)
    dockerfile = f"FROM {name}\nWORKDIR C:/app\nCOPY <<E f\n1\nE\nFROM {name}\nCOPY --from=0 C:/app/f C:/tool/\n"
    docker("build", "-t", "e-windows", "-", input=dockerfile.encode())
    assert files_of_last_layer(docker("save", "e-windows").stdout) == ["Files", "Files/tool", "Files/tool/f"]
    docker("rmi", "e-windows", name)


def test_a_client_that_leaves_ends_its_pull(engine_host: Daemon, registry: Proxy) -> None:
    layer = archive_of({"big": noise(3_000_000, 5)})
    shelf = Shelf(registry.name, "e/left")
    shelf.image(layer, tags=("1",))
    is_layer = f"GET .*/e/left/blobs/{digest(gzip.compress(layer, 1, mtime=0))}"
    fault = registry.fault(is_layer, hold=1_000_000)
    with subprocess.Popen(
        ["docker", "-H", engine_host.host, "pull", f"{shelf.name}:1"], stdout=subprocess.PIPE
    ) as pull:
        assert fault.held.wait(30)
        pull.kill()
    engine_host.docker("pull", f"{shelf.name}:1")  # hangs if the first download were still waited for
    assert not fault.go_on.is_set() and len(registry.requests(is_layer)) == 2
    engine_host.docker("rmi", f"{shelf.name}:1")


def test_mirrors_and_insecure_registries_are_reloaded(new_daemon: Callable[..., Daemon], registry: Proxy) -> None:
    Shelf(registry.name, "library/mirrored").image(archive_of({"a": b"1"}), tags=("1",))
    daemon = new_daemon()
    configuration = daemon.directory / "daemon.json"
    configuration.write_text("{}")
    daemon.flags = ["--config-file", str(configuration)]
    daemon.start(environment={"HTTPS_PROXY": "http://127.0.0.1:1"})  # the public registry cannot be reached
    assert daemon.docker("pull", "mirrored:1", check=False).returncode == 1
    configuration.write_text(
        json.dumps({"registry-mirrors": [f"http://{registry.name}"], "insecure-registries": ["x"]})
    )
    daemon.reload()
    assert daemon.text("pull", "mirrored:1").splitlines()[-1] == "docker.io/library/mirrored:1"
    assert "x" in daemon.request("GET", "/info")[1]["RegistryConfig"]["IndexConfigs"]


def test_a_stopped_engine_goes_on_where_it_was(new_daemon: Callable[..., Daemon], registry: Proxy) -> None:
    layer = archive_of({"big": noise(3_000_000, 6)})
    shelf = Shelf(registry.name, "e/stopped")
    shelf.image(layer, tags=("1",))
    is_layer = f"GET .*/e/stopped/blobs/{digest(gzip.compress(layer, 1, mtime=0))}"
    fault = registry.fault(is_layer, hold=1_000_000)
    daemon = new_daemon()
    daemon.start()
    with subprocess.Popen(["docker", "-H", daemon.host, "pull", f"{shelf.name}:1"], stdout=subprocess.PIPE) as pull:
        assert fault.held.wait(30)
        assert daemon.stop() == 0  # waits for no registry
        pull.kill()
    fault.go_on.set()
    (part,) = (daemon.data_root / "content" / "partial").iterdir()
    size = part.stat().st_size
    daemon.start()
    daemon.docker("pull", f"{shelf.name}:1")
    assert registry.requests(is_layer)[-1].headers.get("Range", "bytes=0-") == f"bytes={size}-"


@pytest.mark.parametrize("seed", range(4))
def test_killed_while_it_pulls(new_daemon: Callable[..., Daemon], registry: Proxy, seed: int) -> None:
    """Whatever the moment: no half image, nothing that is not used, and the next pull goes through."""
    chance = random.Random(seed)
    layers = [archive_of({f"f{number}": noise(400_000, number)}) for number in range(4)]
    shelf = Shelf(registry.name, "e/killed")
    shelf.image(*layers, tags=("1",))
    daemon = new_daemon()
    daemon.start()
    skip = registry.fault("GET .*/e/killed/blobs/", times=chance.randrange(1, 5))  # nothing happens to these
    stop = registry.fault("GET .*/e/killed/blobs/", hold=chance.randrange(400_000))
    with subprocess.Popen(["docker", "-H", daemon.host, "pull", "-q", f"{shelf.name}:1"], stderr=subprocess.PIPE):
        assert stop.held.wait(30)
        daemon.kill()
    stop.go_on.set()
    for fault in (skip, stop):
        registry.faults.remove(fault)
    daemon.start()
    assert daemon.text("images", "-q", "--filter", "reference=*/e/*") == ""
    assert list((daemon.data_root / "content" / "blobs" / "sha256").iterdir()) == []
    daemon.docker("pull", "-q", f"{shelf.name}:1")
    _, found = daemon.request("GET", "/system/df?type=image")
    archives = (daemon.data_root / "content" / "blobs" / "sha256").iterdir()
    assert found["LayersSize"] == 1_600_000 + sum(path.stat().st_size for path in archives)
    daemon.docker("rmi", f"{shelf.name}:1")
    assert [*(daemon.data_root / "overlay" / "layers").iterdir()] == []
