"""Builds through the docker command, docker-py and knarr."""

from __future__ import annotations

import gzip
import io
import os
import select
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import knarr_program
import pytest
from docker.errors import BuildError
from harness import Daemon
from rootful import LOOPBACK

CLASSIC = {"DOCKER_BUILDKIT": "0"}


def context(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def client(engine_host: Daemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(engine_host.host)
    yield client
    client.close()


def test_docker_build(engine_host: Daemon, tmp_path: Path) -> None:
    place = context(
        tmp_path, Dockerfile="FROM busybox\nCOPY . /c\nRUN cat /c/a\nCMD find /c -type f\n", a="1", drop="2"
    )
    (place / ".dockerignore").write_text("drop\nDockerfile\n.dockerignore\n")
    out = engine_host.text("build", "-t", "e2e-docker", str(place), environment=CLASSIC)
    assert "Successfully tagged e2e-docker:latest" in out
    assert engine_host.text("run", "--rm", "e2e-docker") == "/c/a"
    again = engine_host.text("build", "-q", "--iidfile", str(tmp_path / "id"), str(place), environment=CLASSIC)
    assert again == (tmp_path / "id").read_text().strip() == engine_host.text("inspect", "-f", "{{.Id}}", "e2e-docker")


def test_a_failing_build_has_the_commands_code(engine_host: Daemon) -> None:
    done = engine_host.docker("build", "-", input=b"FROM busybox\nRUN exit 37\n", environment=CLASSIC, check=False)
    assert done.returncode == 37
    assert b"returned a non-zero code: 37" in done.stderr


def test_compressed_contexts_from_standard_input(engine_host: Daemon) -> None:
    data = gzip.compress(archive(Dockerfile="FROM busybox\nCOPY f /f\nCMD cat /f\n", f="zipped"))
    engine_host.docker("build", "-t", "e2e-gz", "-", input=data, environment=CLASSIC)
    assert engine_host.text("run", "--rm", "e2e-gz") == "zipped"


def test_docker_py(client: docker.DockerClient, tmp_path: Path) -> None:
    place = context(tmp_path, Dockerfile="FROM busybox\nARG V\nRUN echo $V > /v\nCMD cat /v\n")
    image, log = client.images.build(path=str(place), tag="e2e-py:1", buildargs={"V": "x"}, rm=True)
    assert image.tags == ["e2e-py:1"]
    assert any("Successfully built" in line.get("stream", "") for line in log)
    assert client.containers.run(image, remove=True) == b"x\n"
    assert not client.containers.list(all=True, filters={"ancestor": image.id})


def test_docker_pys_error(client: docker.DockerClient) -> None:
    with pytest.raises(BuildError, match="non-zero code: 3"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3\n"))


def test_knarr_build(engine_host: Daemon, tmp_path: Path) -> None:
    files = {
        "sub/Alt": "FROM busybox\nARG V\nCOPY . /c\nRUN echo $V > /v\nCMD cat /v && find /c -type f | sort\n",
        "a": "1",
    }
    place = context(tmp_path / "c", **{name.replace("/", "__"): text for name, text in files.items()})
    context(place, dot_dockerignore="sub\n*.o\n", x__o="", keep="2")
    (place / "y.o").touch()
    knarr_program.text(
        engine_host.host, "build", "-f", str(place / "sub/Alt"), "-t", "e2e-knarr", "--build-arg", "V=v", str(place)
    )
    out = engine_host.text("run", "--rm", "e2e-knarr").split()
    assert out == ["v", "/c/.dockerignore", "/c/a", "/c/keep", "/c/x/o"]


def test_knarr_build_with_a_dockerfile_from_elsewhere(engine_host: Daemon, tmp_path: Path) -> None:
    place = context(tmp_path / "c", a="1")
    context(tmp_path, Other="FROM busybox\nCOPY . /c\nCMD find /c -type f\n")
    knarr_program.text(engine_host.host, "build", "-q", "-f", str(tmp_path / "Other"), "-t", "e2e-other", str(place))
    assert engine_host.text("run", "--rm", "e2e-other") == "/c/a"


def test_knarr_build_fails_as_docker_does(engine_host: Daemon, tmp_path: Path) -> None:
    place = context(tmp_path, Dockerfile="FROM busybox\nRUN echo why; exit 4\n")
    done = knarr_program.run(engine_host.host, "build", "-q", str(place))
    assert done.returncode == 4
    assert b"why" in done.stdout + done.stderr and b"returned a non-zero code: 4" in done.stderr


def test_pruning(engine_host: Daemon) -> None:
    engine_host.docker("build", "-q", "-", input=b"FROM busybox\nENV PRUNED=1\n", environment=CLASSIC)
    assert "Total reclaimed space: 0B" in engine_host.text("system", "prune", "-f", "--filter", "label=none-has-this")
    assert "Total" in engine_host.text("builder", "prune", "-af")
    assert "Total reclaimed space: 0B" in knarr_program.text(engine_host.host, "builder", "prune", "-af")


@LOOPBACK
def test_files_from_the_web(engine_host: Daemon, web: tuple[str, Path]) -> None:
    address, directory = web
    (directory / "f.txt").write_text("web")
    digest = "sha256:b6bfa4d2a29ce9ea7e5c8ed02ba5a4f0b9aa3b8b4b4a5ed8b9b1e9d4e9a0b1d4"
    text = f"FROM busybox\nADD {address}/f.txt /w/\nADD {address}/f.txt /named\nCMD cat /w/f.txt; stat -c %a /named\n"
    engine_host.docker("build", "-q", "-t", "e2e-web", "-", input=text.encode(), environment=CLASSIC)
    assert engine_host.text("run", "--rm", "e2e-web") == "web600"
    bad = f"FROM busybox\nADD --checksum={digest} {address}/f.txt /\n"
    done = engine_host.docker("build", "-", input=bad.encode(), environment=CLASSIC, check=False)
    assert b"digest mismatch" in done.stderr


@LOOPBACK
def test_contexts_from_the_web(engine_host: Daemon, web: tuple[str, Path]) -> None:
    address, directory = web
    (directory / "Remote").write_text("FROM busybox\nCMD echo remote\n")
    (directory / "c.tar").write_bytes(archive(Dockerfile="FROM busybox\nCOPY f /f\nCMD cat /f\n", f="packed"))
    for name, said in (("Remote", "remote"), ("c.tar", "packed")):
        knarr_program.text(engine_host.host, "build", "-t", "e2e-remote", f"{address}/{name}")
        assert engine_host.text("run", "--rm", "e2e-remote") == said


@LOOPBACK
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_context_from_git(engine_host: Daemon, web: tuple[str, Path]) -> None:
    address, directory = web
    place = context(directory / "r", part__Dockerfile="FROM busybox\nCOPY . /c\nCMD find /c -type f\n", part__a="1")
    git = ["git", "-C", str(place), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "m"], ["update-server-info"]):
        subprocess.run([*git, *command], check=True)
    shutil.copytree(place / ".git", directory / "r.git")
    for where in ("#main:part", "?subdir=part", "?branch=main&subdir=part"):
        knarr_program.text(engine_host.host, "build", "-t", "e2e-git", f"{address}/r.git{where}")
        assert sorted(engine_host.text("run", "--rm", "e2e-git").split()) == ["/c/Dockerfile", "/c/a"]


def test_a_build_ends_with_its_client(engine_host: Daemon) -> None:
    command = ["docker", "--host", engine_host.host, "build", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env={**os.environ, **CLASSIC}) as client:
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write(b"FROM busybox\nRUN echo up; exec sleep 98765\n")
        client.stdin.close()
        while client.stdout.readline() not in (b"up\n", b""):
            pass
        ended = os.pidfd_open(_process_of(engine_host, b"98765"))
        client.kill()
    assert select.select([ended], [], [], 30)[0]
    os.close(ended)


def _process_of(engine: Daemon, word: bytes) -> int:
    """The process in a container of the engine that has this word in its command line."""
    return next(pid for pid in engine.container_pids() if word in Path(f"/proc/{pid}/cmdline").read_bytes())
