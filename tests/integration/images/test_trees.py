"""Names that stand for indexes: several platforms and what is said of them, kept and removed together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from knarr.errors import Conflict, NotFound
from knarr.images import packing, trees
from knarr.images.image import Image
from knarr.images.manifests import KeptManifest
from knarr.images.platforms import Platform, of_host
from knarr.images.references import parse
from knarr.images.store import ImageStore

Make = Callable[..., Image]
ARM = Platform("linux", "arm64")
OTHER = ARM if of_host().architecture != "arm64" else Platform("linux", "amd64")


class Built:
    """What a builder of two platforms has made: the images, their manifests, attestations, and the index."""

    def __init__(self, store: ImageStore, make_image: Make, name: str = "", content: str = "") -> None:
        self.store = store
        with store.adding():
            self.images = [
                make_image(content=f"{platform}{content}", platform=platform) for platform in (OTHER, of_host())
            ]
            self.manifests = [packing.manifest_of(store, image) for image in self.images]
            self.attestations = []
            rows = []
            for manifest, image in zip(self.manifests, self.images, strict=True):
                attestation, row = packing.attest(
                    store, manifest, [("https://slsa.dev/provenance/v1", image.id.encode())]
                )
                self.attestations.append(attestation)
                rows += [packing.row_of(manifest, image), row]
            self.index = packing.index_of(rows)
            names = [parse(name)] if name else []
            self.main = store.add_tree(self.index, [*self.manifests, *self.attestations], names=names)

    @property
    def other(self) -> Image:
        return self.store.get(self.images[0].id)


@pytest.fixture
def build(store: ImageStore, make_image: Make) -> Callable[..., Built]:
    return lambda name="", content="": Built(store, make_image, name, content)


def digests(store: ImageStore) -> set[str]:
    return {document.digest for document in store.manifests.all()}


def test_a_name_means_the_image_for_this_machine(store: ImageStore, build: Callable[..., Built]) -> None:
    built = build("app:1")
    assert store.resolve("app:1").id == built.main.id == built.images[1].id
    assert built.main.repo_tags == ["app:1"]
    assert (built.other.repo_tags, built.other.sibling, built.other.dangling) == ([], True, False)
    assert store.for_platform("app:1", OTHER).id == built.other.id
    with pytest.raises(NotFound, match=r"app:1 was found but does not provide the specified platform \(linux/s390x\)"):
        store.for_platform("app:1", Platform("linux", "s390x"))


def test_found_by_the_digests_of_manifests(store: ImageStore, build: Callable[..., Built]) -> None:
    built = build("app:1")
    assert store.target("app:1") == store.target(built.main.id) == built.index.digest
    assert store.resolve(built.index.digest).id == built.main.id
    assert store.resolve(built.manifests[0].digest[7:27]).id == built.other.id
    assert store.resolve(f"app@{built.manifests[0].digest}").id == built.other.id
    for stranger in (f"other@{built.manifests[0].digest}", built.attestations[0].digest):
        with pytest.raises(NotFound):
            store.resolve(stranger)


def test_members_are_told_apart(store: ImageStore, build: Callable[..., Built]) -> None:
    built = build("app:1")
    members = store.members(store.target("app:1"))
    assert [member.kind for member in members] == [trees.IMAGE, trees.ATTESTATION] * 2
    assert [member.descriptor.subject for member in members[1::2]] == [one.digest for one in built.manifests]


def test_all_of_it_survives_a_restart(place: Any, build: Callable[..., Built]) -> None:
    built = build("app:1")
    store = place.reopen()
    assert store.get(built.main.id).repo_tags == ["app:1"]
    assert store.get(built.other.id).sibling
    assert packing.complete(store, store.manifests.get(built.index.digest))


def test_another_tag_stands_for_the_whole_index(store: ImageStore, build: Callable[..., Built]) -> None:
    built = build("app:1")
    assert built.main.repo_digests == [f"app@{built.index.digest}"]
    store.tag(store.target(built.main.id), parse("app:2"))
    store.untag(parse("app:1"))
    assert store.target("app:2") == built.index.digest
    assert packing.complete(store, built.index)


def test_what_lost_its_name_to_another_is_kept_whole(place: Any, build: Callable[..., Built]) -> None:
    old = build("app:1")
    build("app:1", "news")
    store = place.reopen()
    assert store.get(old.main.id).repo_tags == []
    assert store.get(old.main.id).repo_digests == [f"app@{old.index.digest}"]
    store.tag(store.target(old.main.id), parse("old:1"))
    assert store.get(old.main.id).repo_tags == ["old:1"]


def test_an_index_without_a_name_is_kept_until_it_is_removed(place: Any, build: Callable[..., Built]) -> None:
    built = build()
    store = place.reopen()
    assert store.get(built.main.id).dangling
    assert packing.complete(store, built.index)
    store.remove(built.main.id, [], siblings=[built.other.id])
    assert place.empty()


def test_siblings_go_with_the_name_that_alone_has_them(store: ImageStore, build: Callable[..., Built]) -> None:
    built = build("app:1")
    store.tag(built.manifests[1].digest, parse("main:1"))
    names = [parse("app:1"), parse(f"app@{built.index.digest}")]
    assert store.remove(built.main.id, names, whole=False, siblings=[built.other.id]) is None
    assert store.resolve("main:1").id == built.main.id
    assert not store.has(built.images[0].id)
    assert digests(store) == {built.manifests[1].digest}


def test_siblings_stay_under_another_name(store: ImageStore, build: Callable[..., Built]) -> None:
    built = build("app:1")
    store.tag(built.index.digest, parse("app:2"))
    store.remove(built.main.id, [parse("app:1")], siblings=[built.other.id])
    assert store.for_platform("app:2", OTHER).id == built.other.id


def test_nothing_is_left_when_all_images_have_gone(place: Any, build: Callable[..., Built]) -> None:
    built = build("app:1")
    place.store.delete(built.main.id)
    place.store.delete(built.other.id)
    assert place.empty()
    assert not place.store.manifests.all()


def test_a_platform_goes_with_what_is_said_of_it(place: Any, build: Callable[..., Built]) -> None:
    built = build("app:1")
    store = place.store
    store.delete_platform(built.main.id)
    assert store.resolve("app:1").id == built.other.id
    assert digests(store) == {built.index.digest, built.manifests[0].digest, built.attestations[0].digest}
    store.delete_platform(built.other.id)
    assert store.resolve("app:1").artifact == built.index.media_type
    assert digests(store) == {built.index.digest}
    store.delete(store.resolve("app:1").id)
    assert place.empty()


def test_a_platform_that_comes_later(store: ImageStore, build: Callable[..., Built]) -> None:
    built = build("app:1")
    document = store.raw_config(built.main.id)
    with store.adding():
        store.delete_platform(built.main.id)
        assert store.resolve("app:1").id == built.other.id
        store.add(document)
    assert store.resolve("app:1").id == built.main.id
    assert store.get(built.other.id).sibling


def test_a_name_that_cannot_be_given_changes_nothing(place: Any, make_image: Make) -> None:
    with place.store.adding(), pytest.raises(Conflict):
        place.store.add_tree(packing.index_of([]), names=[parse("app"), parse("host:latest")])
    assert place.empty()


def test_a_malformed_manifest_changes_nothing(place: Any) -> None:
    broken = KeptManifest("application/vnd.oci.image.manifest.v1+json", b'{"config": 1}')
    with place.store.adding(), pytest.raises(Exception, match="invalid manifest"):
        place.store.add_tree(packing.index_of([broken.descriptor]), [broken], names=[parse("app")])
    with pytest.raises(NotFound):
        place.store.resolve("app")
    assert place.reopen().manifests.all() == []


def test_names_and_manifests_of_earlier_versions_are_taken_over(place: Any, make_image: Make) -> None:
    image = make_image()
    with place.store.adding():
        manifest = packing.manifest_of(place.store, image)
    place.database.add_schema(
        "CREATE TABLE image_names (name TEXT PRIMARY KEY, image TEXT NOT NULL);"
        "CREATE TABLE manifests (digest TEXT, image TEXT, media_type TEXT, document BLOB);"
    )
    place.database.execute("INSERT INTO image_names VALUES ('docker.io/library/app:1', ?)", (image.id,))
    row = (manifest.digest, image.id, manifest.media_type, manifest.document)
    place.database.execute("INSERT INTO manifests VALUES (?, ?, ?, ?)", row)
    for store in (place.reopen(), place.reopen()):
        assert store.resolve("app:1").id == image.id
        assert store.manifests.of(image.id) == [manifest]


def test_blobs_that_no_manifest_came_for_go(place: Any) -> None:
    with place.store.adding():
        place.store.keep_blob(b"a statement")
    assert place.empty()


def test_an_index_within_itself_many_times_is_walked_once() -> None:
    documents = {}
    row = KeptManifest("application/vnd.oci.image.manifest.v1+json", b"{}").descriptor
    for _ in range(40):
        index = packing.index_of([row, row])
        documents[index.digest] = index
        row = index.descriptor
    assert len(trees.documents(documents.get, row.digest)) == 40
    assert len(trees.members(documents.get, row.digest)) == 2
