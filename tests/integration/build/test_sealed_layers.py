"""Layers whose digest is told while they are written: it is that of the archive which is made of them later."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from knarr.build.copying import Ownership
from knarr.build.transfer import Transfer
from knarr.database import Database
from knarr.errors import InvalidParameter
from knarr.storage import trees
from knarr.storage.layers import Layer, LayerStore
from knarr.storage.sealing import Sealing

_NAMES = ["a", "a-b", "a.b", "b", "bb", "\u00e4", "n" * 120]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    root = tmp_path / "layers"
    root.mkdir()
    database = Database(root / "state.db")
    made = LayerStore(root, database, "overlay2")
    yield made
    made.close()
    database.close()


def random_tree(root: Path, numbers: random.Random) -> None:
    """Files, directories and links, some with attributes that a digest may miss."""
    root.mkdir()
    directories, files = [root], [root / "first"]
    files[0].write_bytes(b"1")
    for _ in range(30):
        path = numbers.choice(directories) / numbers.choice(_NAMES)
        if path.exists() or path.is_symlink():
            continue
        match numbers.randrange(6):
            case 0 | 1:
                path.mkdir(mode=numbers.choice((0o755, 0o700, 0o2775, 0o1777)))
                directories.append(path)
                continue
            case 2:
                path.symlink_to(numbers.choice(("a", "../b", "x" * 150)))
                continue
            case 3:
                os.link(numbers.choice(files), path)
                continue
            case 4:
                os.mkfifo(path)
                continue
        path.write_bytes(numbers.randbytes(numbers.choice((0, 1, 511, 512, 70_000, 1_200_000))))
        path.chmod(numbers.choice((0o644, 0o4755, 0o000)))
        os.utime(path, ns=(0, numbers.choice((0, 5, 10**18 + 1, 1_700_000_000 * 10**9))))
        if not numbers.randrange(8):
            os.setxattr(path, "user.x", b"1")
        files.append(path)


def copy(store: LayerStore, parent: str | None, source: Path, target: str) -> Layer | None:
    with store.view(parent) as view, trees.opened(str(source)) as root:
        transfer = Transfer("COPY", view, "/", target, Ownership((0, 0)))
        transfer.add_sources(root, ["."], where="")
        return store.make(parent, transfer, transfer.names())


def check(store: LayerStore, layer: Layer | None) -> None:
    if layer is not None:
        digest = hashlib.sha256(b"".join(store.layer_archive(layer.chain_id))).hexdigest()
        assert layer.diff_id == f"sha256:{digest}"


@pytest.mark.parametrize("seed", range(25))
def test_the_digest_is_that_of_the_archive(store: LayerStore, tmp_path: Path, seed: int) -> None:
    numbers = random.Random(seed)
    chain = None
    for turn in range(4):
        random_tree(tmp_path / str(turn), numbers)
        target = numbers.choice(("/", "/a", "/a/b/", "/new/" + numbers.choice(_NAMES)))
        layer = None
        with suppress(InvalidParameter):  # a file where a directory has to be
            layer = copy(store, chain, tmp_path / str(turn), target)
        check(store, layer)
        chain = chain if layer is None else layer.chain_id


def test_files_are_not_read_again(store: LayerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/f").write_bytes(b"1")
    base = copy(store, None, tmp_path / "one", "/srv")
    assert base is not None
    told: list[str | None] = []
    digest = Sealing.digest
    monkeypatch.setattr(Sealing, "digest", lambda *known: told.append(digest(*known)) or told[-1])
    layer = copy(store, base.chain_id, tmp_path / "one", "/srv/new")
    assert layer is not None
    assert told == [layer.diff_id]
    check(store, layer)


def test_extended_attributes_count(store: LayerStore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    digests = set()
    for value in (b"1", b"2"):
        os.setxattr(tmp_path / "f", "user.x", value)
        with store.view(None) as view, trees.opened(str(tmp_path)) as root:
            transfer = Transfer("COPY", view, "/", "/f", Ownership((0, 0)))
            transfer.add_sources(root, ["f"], where="")
            digests.add(transfer.digest())
    assert len(digests) == 2
