"""Files in and out of containers with the docker command and with knarr's: the same work, the same outcome."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import knarr_program
import pytest
from harness import Daemon

Client = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(params=["docker", "knarr"])
def client(request: pytest.FixtureRequest, engine_host: Daemon) -> Client:
    """One of the two; what it cannot do raises AssertionError unless `check` is off."""
    if request.param == "docker":
        return engine_host.docker

    def knarr(*words: str, check: bool = True, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        done = knarr_program.run(engine_host.host, *words, input=input)
        assert not check or done.returncode == 0, done.stderr
        return done

    return knarr


@pytest.fixture
def up(engine_host: Daemon) -> Iterator[str]:
    """A running container."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    engine_host.docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
    yield name
    engine_host.docker("rm", "-f", name)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """d/{a,s/b,l -> a}, with odd modes and times."""
    top = tmp_path / "d"
    (top / "s").mkdir(parents=True)
    (top / "a").write_text("1")
    (top / "a").chmod(0o640)
    (top / "s/b").write_text("2")
    (top / "l").symlink_to("a")
    os.link(top / "a", top / "h")
    os.utime(top / "s", (1e9, 1e9))
    return top


def listing(top: Path) -> list[tuple[str, int, str]]:
    return sorted(
        (str(path.relative_to(top)), path.lstat().st_mode, "" if path.is_dir() else path.read_text())
        for path in top.rglob("*")
    )


def test_a_directory_there_and_back(client: Client, up: str, tree: Path, tmp_path: Path) -> None:
    client("cp", str(tree), f"{up}:/new")
    client("cp", str(tree), f"{up}:/new")
    for source, target in (("/new", "back"), ("/new/d", "again")):
        client("cp", f"{up}:{source}", str(tmp_path / target))
    assert listing(tmp_path / "again") == listing(tree)
    assert (tmp_path / "again/s").stat().st_mtime == 1e9
    assert (tmp_path / "again/a").samefile(tmp_path / "again/h")
    assert sorted(os.listdir(tmp_path / "back")) == ["a", "d", "h", "l", "s"]


def test_what_is_in_a_directory(client: Client, up: str, tree: Path, tmp_path: Path) -> None:
    client("cp", f"{tree}/.", f"{up}:/tmp")
    (tmp_path / "there").mkdir()
    client("cp", f"{up}:/tmp/.", str(tmp_path / "there"))
    client("cp", f"{up}:/tmp/.", str(tmp_path / "made"))
    assert listing(tmp_path / "there") == listing(tmp_path / "made") == listing(tree)


def test_files_under_other_names(client: Client, up: str, tree: Path, tmp_path: Path) -> None:
    client("cp", str(tree / "a"), f"{up}:/renamed")
    client("cp", str(tree / "s/b"), f"{up}:/renamed")
    client("cp", f"{up}:/renamed", str(tmp_path / "x"))
    client("cp", f"{up}:/renamed", str(tmp_path))
    assert [(tmp_path / name).read_text() for name in ("x", "renamed")] == ["2", "2"]


def test_links(client: Client, up: str, tree: Path, tmp_path: Path) -> None:
    client("cp", str(tree), f"{up}:/")
    client("cp", "-L", str(tree / "l"), f"{up}:/followed")
    client("cp", f"{up}:/d/l", str(tmp_path / "kept"))
    client("cp", "-L", f"{up}:/d/l", str(tmp_path / "l"))
    client("cp", f"{up}:/followed", str(tmp_path / "f"))
    assert os.readlink(tmp_path / "kept") == "a"
    assert [(tmp_path / name).read_text() for name in ("l", "f")] == ["1", "1"]
    assert not (tmp_path / "l").is_symlink()


def test_archives_by_pipes(client: Client, up: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("q/f")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"1"))
    client("cp", "-", f"{up}:/tmp", input=buffer.getvalue())
    out = client("cp", f"{up}:/tmp/q", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        assert archive.getnames() == ["q", "q/f"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["UP:/none", "."], "Could not find the file /none in container UP"),
        (["/none", "UP:/"], "no such file or directory"),
        (["DIR", "UP:/etc/passwd"], "cannot copy directory"),
        (["DIR/a", "UP:/new/"], "no such directory"),
        (["UP:/etc", "DIR/a"], "cannot copy directory"),
        (["UP:/etc", "UP:/x"], "copying between containers is not supported"),
        (["-", "UP:/etc/passwd"], "must be a directory"),
        (["a", "b"], "must specify at least one container source"),
        (["DIR/a", "UP:/none/x"], "Could not find the file /none in container UP"),
    ],
)
def test_errors(words: list[str], error: str, client: Client, up: str, tree: Path) -> None:
    filled = [word.replace("UP", up).replace("DIR", str(tree)) for word in words]
    done = client("cp", *filled, check=False, input=b"")
    assert done.returncode == 1
    assert error.replace("UP", up) in done.stderr.decode()


def test_owners(client: Client, up: str, tree: Path, engine_host: Daemon) -> None:
    os.chown(tree / "a", 5, 6)
    client("cp", str(tree / "a"), f"{up}:/kept")
    assert engine_host.text("exec", up, "stat", "-c", "%u:%g", "/kept") == "5:6"
    name = f"{up}-user"
    engine_host.docker("create", "--user", "nobody", "--name", name, "busybox", "stat", "-c", "%u:%g", "/tmp/a")
    client("cp", "-a", str(tree / "a"), f"{name}:/tmp/")
    assert engine_host.text("start", "-a", name) == "65534:65534"
    engine_host.docker("rm", name)


def test_diff(client: Client, up: str, engine_host: Daemon) -> None:
    engine_host.docker("exec", up, "sh", "-c", "echo >/new; echo >>/etc/passwd; rm /etc/group")
    assert client("diff", up).stdout == b"C /etc\nD /etc/group\nC /etc/passwd\nA /new\n"


def test_export(client: Client, up: str, tmp_path: Path) -> None:
    client("export", "-o", str(tmp_path / "x.tar"), up)
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert {"etc/passwd", "bin/busybox"} <= set(archive.getnames())
    assert len(client("export", up).stdout) >= (tmp_path / "x.tar").stat().st_size // 2


def test_commit(client: Client, up: str, engine_host: Daemon, tmp_path: Path) -> None:
    engine_host.docker("exec", up, "sh", "-c", "echo x >/f")
    id = client("commit", "-a", "me", "-m", "why", "-c", 'CMD ["cat", "/f"]', up, f"{up}:1").stdout.decode().strip()
    assert engine_host.text("run", "--rm", f"{up}:1") == "x"
    assert engine_host.text("inspect", "-f", "{{.Id}} {{.Author}} {{.Comment}}", f"{up}:1") == f"{id} me why"
    client("save", "-o", str(tmp_path / "s.tar"), f"{up}:1")
    engine_host.docker("rmi", f"{up}:1")
    engine_host.docker("load", "-i", str(tmp_path / "s.tar"))
    assert engine_host.text("run", "--rm", f"{up}:1") == "x"
    engine_host.docker("rmi", f"{up}:1")


def test_files_that_fill_blocks_of_an_archive(client: Client, up: str, tmp_path: Path) -> None:
    tree = tmp_path / "blocks"
    tree.mkdir()
    for name, size in (("a", 512), ("b", 1024), ("c", 1)):
        (tree / name).write_bytes(b"x" * size)
    client("cp", str(tree), f"{up}:/")
    client("cp", f"{up}:/blocks", str(tmp_path / "back"))
    assert listing(tmp_path / "back") == listing(tree)
