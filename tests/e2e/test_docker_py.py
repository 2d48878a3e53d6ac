"""docker-py, an SDK with ideas of its own of how the API behaves."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from busybox import archive
from rootful import LIMITS

docker = pytest.importorskip("docker")
requests = pytest.importorskip("requests")


@pytest.fixture
def box(docker_py: Any) -> Iterator[Any]:
    made = docker_py.containers.run("busybox", ["sleep", "600"], detach=True, name="py-box", labels={"of": "docker-py"})
    yield made
    made.remove(force=True)


def test_run_gives_the_output(docker_py: Any) -> None:
    assert docker_py.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"


def test_a_failing_program_is_an_error(docker_py: Any) -> None:
    with pytest.raises(docker.errors.ContainerError) as caught:
        docker_py.containers.run("busybox", ["sh", "-c", "echo why >&2; exit 3"], remove=True, stderr=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, b"why\n")


def test_missing_things_are_not_found(docker_py: Any) -> None:
    with pytest.raises(docker.errors.NotFound, match="No such container: py-none"):
        docker_py.containers.get("py-none")
    with pytest.raises(docker.errors.ImageNotFound):
        docker_py.images.get("py-none")


def test_exec_with_separate_streams(box: Any) -> None:
    code, (out, err) = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert (code, out, err) == (4, b"out\n", b"err\n")


def test_exec_on_a_socket(box: Any) -> None:
    _, stream = box.exec_run(["cat"], stdin=True, socket=True, tty=True)
    stream._sock.sendall(b"typed\n\x04")
    received = b""
    while piece := stream._sock.recv(100):
        received += piece
    assert received.count(b"typed") == 2  # the terminal's echo and cat's output


def test_listing_by_label(docker_py: Any, box: Any) -> None:
    assert [found.id for found in docker_py.containers.list(filters={"label": "of=docker-py"})] == [box.id]


@LIMITS
def test_states(box: Any) -> None:
    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    box.stop(timeout=0)
    box.reload()
    assert (box.status, box.wait()["StatusCode"]) == ("exited", 137)


def test_logs_follow_to_the_end(docker_py: Any) -> None:
    made = docker_py.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done"], detach=True)
    assert b"".join(made.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    made.remove()


def test_events_tell_a_life(docker_py: Any) -> None:
    events = docker_py.events(decode=True, filters={"type": "container"})
    made = docker_py.containers.create("busybox", ["true"])
    made.start()
    made.wait()
    made.remove()
    seen = [next(events)["Action"] for _ in range(4)]
    events.close()
    assert seen == ["create", "start", "die", "destroy"]


def test_an_image_from_an_archive_and_back(docker_py: Any) -> None:
    docker_py.api.import_image_from_data(archive(), repository="py-image", tag="one")
    image = docker_py.images.get("py-image:one")
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save(named=True)))) as saved:
        assert "manifest.json" in saved.getnames()
    docker_py.images.remove("py-image:one")
    with pytest.raises(docker.errors.ImageNotFound):
        docker_py.images.get("py-image:one")


def test_published_ports(docker_py: Any) -> None:
    made = docker_py.containers.run("busybox", ["sleep", "600"], detach=True, ports={"80/tcp": ("127.0.0.1", None)})
    made.reload()
    [binding] = made.ports["80/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    assert int(binding["HostPort"]) > 0
    made.remove(force=True)


def test_attach_on_a_socket(docker_py: Any) -> None:
    api = docker_py.api
    made = api.create_container("busybox", ["cat"], stdin_open=True)
    stream = api.attach_socket(made, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    api.start(made)
    stream._sock.sendall(b"typed\n")
    stream._sock.shutdown(socket.SHUT_WR)
    assert dict(docker.utils.socket.frames_iter(stream, tty=False)) == {1: b"typed\n"}
    assert api.logs(made) == b"typed\n"  # its attach loses what comes in one piece with the answer's head
    api.remove_container(made)


def test_waiting_has_conditions(docker_py: Any) -> None:
    made = docker_py.containers.create("busybox", ["sh", "-c", "exit 5"])
    assert made.wait()["StatusCode"] == 0
    with ThreadPoolExecutor() as threads:
        exited = threads.submit(made.wait, condition="next-exit")
        removed = threads.submit(made.wait, condition="removed")
        with pytest.raises(requests.exceptions.ConnectionError):
            made.wait(condition="removed", timeout=0.5)  # by then the others wait too
        made.start()
        assert exited.result()["StatusCode"] == 5
        made.remove()
        assert removed.result()["StatusCode"] == 5


@LIMITS
def test_the_low_level_host_config(docker_py: Any) -> None:
    types, api = docker.types, docker_py.api
    config = api.create_host_config(
        binds=["/tmp:/m:ro"],
        dns=["192.0.2.1"],
        extra_hosts={"other": "192.0.2.2"},
        init=True,
        mem_limit="64m",
        memswap_limit="128m",
        mounts=[types.Mount("/t", None, type="tmpfs", tmpfs_size=1 << 20, tmpfs_mode=0o700)],
        port_bindings={1111: None, 2222: ("127.0.0.1",)},
        shm_size="32m",
        tmpfs={"/u": "size=1m"},
        ulimits=[types.Ulimit(name="nofile", soft=100, hard=200)],
    )
    script = "ulimit -n; cat /etc/hosts /etc/resolv.conf; stat -c %a /t; grep ' /m ' /proc/mounts"
    made = api.create_container("busybox", ["sh", "-c", script], ports=[1111, 2222], host_config=config)
    api.start(made)
    assert api.wait(made)["StatusCode"] == 0
    output = api.logs(made).decode()
    assert output.startswith("100\n")
    assert all(text in output for text in ("192.0.2.2\tother", "nameserver 192.0.2.1", "\n700\n", " ro,"))
    shown = api.inspect_container(made)["HostConfig"]
    assert (shown["Memory"], shown["MemorySwap"], shown["ShmSize"]) == (64 << 20, 128 << 20, 32 << 20)
    api.remove_container(made)


def test_volumes(docker_py: Any) -> None:
    volume = docker_py.volumes.create("py-volume", labels={"of": "docker-py"})
    write, read = ["sh", "-c", "echo kept > /v/file"], ["cat", "/v/file"]
    docker_py.containers.run("busybox", write, volumes={"py-volume": {"bind": "/v", "mode": "rw"}}, remove=True)
    assert docker_py.containers.run("busybox", read, volumes=["py-volume:/v:ro"], remove=True) == b"kept\n"
    assert docker_py.volumes.list(filters={"label": "of=docker-py"}) == [volume]
    volume.remove()


@LIMITS
def test_rename_update_restart_top(box: Any) -> None:
    box.rename("py-other")
    box.update(mem_limit="128m", memswap_limit="256m")
    box.restart(timeout=0)
    box.reload()
    assert (box.name, box.attrs["HostConfig"]["Memory"], box.status) == ("py-other", 128 << 20, "running")
    assert [row[-1] for row in box.top()["Processes"]] == ["sleep 600"]


def test_names_in_use_and_programs_that_are_not_there(docker_py: Any, box: Any) -> None:
    with pytest.raises(docker.errors.APIError) as caught:
        docker_py.containers.create("busybox", ["true"], name=box.name)
    assert caught.value.status_code == 409
    with pytest.raises(docker.errors.APIError, match="executable file not found") as caught:
        docker_py.containers.run("busybox", ["no-such-program"], remove=True)
    assert caught.value.status_code == 400


def test_what_is_no_archive_cannot_be_loaded(docker_py: Any) -> None:
    with pytest.raises(docker.errors.ImageLoadError):
        docker_py.images.load(b"abc")


def test_a_link_is_told_in_the_environment(docker_py: Any, box: Any) -> None:
    output = docker_py.containers.run("busybox", ["env"], remove=True, links={"py-box": "db"}, name="py-linked")
    assert b"DB_NAME=/py-linked/db\n" in output


def test_a_link_is_removed(docker_py: Any, box: Any) -> None:
    made = docker_py.containers.create("busybox", "true", name="py-linked", links={"py-box": "db"})
    docker_py.api.remove_container("py-linked/db", link=True)
    made.reload()
    assert made.attrs["HostConfig"]["Links"] == []
    made.remove()


def test_several_log_files_without_a_size_are_one(docker_py: Any) -> None:
    logs = docker.types.LogConfig(type="json-file", config={"max-file": "3"})
    assert docker_py.containers.run("busybox", ["echo", "hi"], remove=True, log_config=logs) == b"hi\n"


def test_an_image_of_another_platform_is_not_found(docker_py: Any) -> None:
    path = "/images/busybox/json?platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D"
    answer = docker_py.api.get(docker_py.api._url(path))
    assert answer.status_code == 404
    assert "does not provide the specified platform (linux/s390x)" in answer.json()["message"]
