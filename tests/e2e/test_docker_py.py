"""docker-py, an SDK with ideas of its own of how the API behaves."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from busybox import archive

docker = pytest.importorskip("docker")


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
