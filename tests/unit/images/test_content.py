"""The content store."""

from __future__ import annotations

from pathlib import Path

import pytest

from knarr.errors import InvalidParameter, KnarrError, NotFound
from knarr.images import config
from knarr.images.content import ContentStore

DATA = b"some bytes" * 1000
DIGEST = config.digest_of(DATA)


def add(store: ContentStore) -> None:
    with store.incoming() as incoming:
        incoming.write(DATA)
        incoming.keep(DIGEST)


def test_kept_content_is_read_again(tmp_path: Path) -> None:
    add(ContentStore(tmp_path))
    store = ContentStore(tmp_path)
    assert b"".join(store.chunks(DIGEST)) == DATA
    assert (store.size(DIGEST), store.digests(), store.has(DIGEST)) == (len(DATA), [DIGEST], True)


def test_what_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    with store.incoming() as incoming:
        incoming.write(DATA)
        assert incoming.size == len(DATA)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    ContentStore(tmp_path).incoming().write(DATA)
    ContentStore(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_keeping_twice_is_fine(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    add(store)
    add(store)
    assert store.digests() == [DIGEST]


def test_damage_is_noticed(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    add(store)
    (tmp_path / "blobs" / "sha256" / DIGEST[7:]).write_bytes(DATA[:-1])
    with pytest.raises(KnarrError, match="damaged"):
        list(store.chunks(DIGEST))


def test_missing_content(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.remove(DIGEST)
    with pytest.raises(NotFound):
        list(store.chunks(DIGEST))
    with pytest.raises(NotFound):
        store.size(DIGEST)


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "sha256:" + "A" * 64, "", "sha512:" + "a" * 64])
def test_only_digests_are_paths(tmp_path: Path, digest: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid digest"):
        ContentStore(tmp_path).has(digest)
