"""Images and their names, kept over a restart; layers go with the last image that has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.images import host
from knarr.images.image import Image
from knarr.images.references import parse
from knarr.images.store import ImageStore

Make = Callable[..., Image]


def test_found_by_name_id_and_prefix(store: ImageStore, make_image: Make) -> None:
    image = make_image("app:1")
    bare = image.id.removeprefix("sha256:")
    for reference in ("app:1", "docker.io/library/app:1", image.id, bare, bare[:12], f"sha256:{bare[:8]}"):
        assert store.resolve(reference).id == image.id


def test_a_name_beats_a_prefix(store: ImageStore, make_image: Make) -> None:
    first = make_image(content="1")
    second = make_image(first.id[7:13], content="2")
    assert store.resolve(first.id[7:13]).id == second.id
    assert store.resolve(first.id[7:14]).id == first.id


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("none", "No such image: none:latest"),
        ("library/none:1", "No such image: none:1"),
        ("f" * 64, f"No such image: sha256:{'f' * 64}"),
        (f"app@sha256:{'0' * 64}", f"No such image: app@sha256:{'0' * 64}"),
    ],
)
def test_missing_images_in_dockerds_words(store: ImageStore, reference: str, words: str) -> None:
    with pytest.raises(NotFound, match=f"^{words}$"):
        store.resolve(reference)


def test_an_ambiguous_prefix_is_no_image(store: ImageStore, make_image: Make) -> None:
    ids = {make_image(content=str(number)).id[7] for number in range(20)}
    assert len(ids) < 20  # so two begin alike
    repeated = next(digit for digit in "0123456789abcdef" if sum(image.id[7] == digit for image in store.all()) > 1)
    with pytest.raises(NotFound):
        store.resolve(repeated)


def test_everything_survives_a_restart(place: Any, make_image: Make) -> None:
    image = make_image("app:1")
    place.store.tag(image.id, parse("app:2"))
    before = place.store.get(image.id)
    assert before.repo_tags == ["app:1", "app:2"]
    assert place.reopen().get(image.id) == before


def test_a_tag_moves(store: ImageStore, make_image: Make) -> None:
    first, second = make_image("app", content="1"), make_image("other", content="2")
    assert store.tag(second.id, parse("app:latest")) == first.id
    assert store.get(first.id).dangling
    assert store.get(second.id).repo_tags == ["app:latest", "other:latest"]


def test_a_repository_digest_is_a_name(store: ImageStore, make_image: Make) -> None:
    image = make_image("app")
    digest = f"app@sha256:{'1' * 64}"
    store.tag(image.id, parse(digest))
    assert store.get(image.id).repo_digests == [digest]
    assert store.resolve(f"app:other@sha256:{'1' * 64}").id == image.id


def test_a_tag_that_looks_like_a_digest(store: ImageStore, make_image: Make) -> None:
    with pytest.raises(InvalidParameter, match="ambiguous tag using digest algorithm as name"):
        store.tag(make_image().id, parse("sha256:abc"))


def test_untag(store: ImageStore, make_image: Make) -> None:
    image = make_image("app:1")
    assert store.untag(parse("app:1")) == image.id
    assert store.get(image.id).dangling
    with pytest.raises(NotFound, match="No such image: app:1"):
        store.untag(parse("app:1"))


def test_delete_takes_layers_and_blobs_along(place: Any, make_image: Make) -> None:
    image = make_image("app:1")
    assert place.store.delete(image.id) == [image.chain_id]
    assert place.empty()
    with pytest.raises(NotFound):
        place.store.resolve("app:1")


def test_an_image_has_all_its_names_or_is_not_there(place: Any, archives: Any) -> None:
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON image_targets WHEN NEW.name LIKE '%second%'"
    place.database.execute(f"{refuse} BEGIN SELECT RAISE(ABORT, 'as if killed here'); END")
    with pytest.raises(sqlite3.IntegrityError), place.store.adding():
        place.store.add(archives.config(), names=[parse("first"), parse("second")])
    assert place.empty()
    assert place.store.named(parse("first")) is None
    place.reopen()
    assert place.empty()


def test_an_image_goes_with_all_its_names_or_keeps_them(place: Any, make_image: Make) -> None:
    image = make_image("app:1")
    place.database.execute(
        "CREATE TRIGGER refuse BEFORE DELETE ON images BEGIN SELECT RAISE(ABORT, 'as if killed here'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        place.store.remove(image.id, [parse("app:1")])
    assert place.store.resolve("app:1").repo_tags == ["app:1"]
    assert place.reopen().resolve("app:1").repo_tags == ["app:1"]


def test_a_name_given_meanwhile_keeps_the_image(store: ImageStore, make_image: Make) -> None:
    image = make_image("app:1")
    store.tag(image.id, parse("app:2"))
    assert store.remove(image.id, [parse("app:1")]) is None
    assert store.get(image.id).repo_tags == ["app:2"]


def test_shared_layers_stay(place: Any, make_image: Make) -> None:
    first, second = make_image("a"), make_image("b", changes=["ENV x=1"])
    assert first.chain_id == second.chain_id
    assert place.store.delete(first.id) == []
    assert place.store.delete(second.id) == [second.chain_id]


def test_a_containers_layers_stay_until_it_goes(place: Any, make_image: Make) -> None:
    image = make_image("app")
    place.layers.create_root("c", image.chain_id)
    assert place.store.delete(image.id) == []
    place.layers.remove_root("c")
    assert place.store.collect() == [image.chain_id]
    assert place.empty()


def test_layers_without_image_go_at_the_next_start(place: Any, make_image: Make) -> None:
    image = make_image("app")
    place.layers.create_root("c", image.chain_id)
    place.store.delete(image.id)
    place.layers.remove_root("c")
    place.reopen()
    assert place.empty()


def test_nothing_is_removed_while_images_are_added(place: Any, make_image: Make) -> None:
    image = make_image("app")
    with place.store.adding():
        assert place.store.delete(image.id) == []
        assert place.layers.get(image.chain_id)
    assert place.empty()


def test_the_configuration_is_kept_byte_for_byte(place: Any, archives: Any) -> None:
    document = archives.config()
    with place.store.adding():
        image = place.store.add(document)
    assert place.reopen().raw_config(image.id) == document
    assert archives.digest(document) == image.id
    assert image.chain_id is None


def test_children(store: ImageStore, make_image: Make, archives: Any) -> None:
    parent = make_image("base")
    with store.adding():
        child = store.add(archives.config(), parent=parent.id)
    assert [image.id for image in store.children(parent.id)] == [child.id]


def test_the_host_image_is_always_there(store: ImageStore) -> None:
    image = store.resolve("host")
    assert (image.host, image.repo_tags, image.chain_id) == (True, ["host:latest"], None)
    assert image.config.config.cmd == ["/bin/sh"]
    assert image.config.config.env == [host.DEFAULT_PATH]


def test_the_host_image_cannot_be_removed(store: ImageStore) -> None:
    image = store.resolve("host")
    with pytest.raises(Conflict, match="built-in image"):
        store.delete(image.id)
    with pytest.raises(Conflict, match="built-in image"):
        store.untag(parse("host:latest"))


def test_no_other_image_gets_its_name(store: ImageStore, make_image: Make) -> None:
    with pytest.raises(Conflict, match="built-in image"):
        store.tag(make_image().id, parse("host:latest"))


def test_its_other_names_stay_with_it(place: Any) -> None:
    place.store.tag(place.store.resolve("host").id, parse("mine"))
    assert place.reopen().resolve("mine").host
