"""The image service: dockerd's JSON, words and events."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from knarr.engine.events import EventBus
from knarr.engine.image_listing import ContainerUse
from knarr.engine.image_service import ImageService
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound
from knarr.images.image import Image
from knarr.images.references import parse

Make = Callable[..., Image]
CONTAINER = "c" * 64


class Bench:
    """A service, the containers that it is told of, and what it published."""

    def __init__(self, place: Any) -> None:
        self.store = place.store
        self.uses: dict[str, list[ContainerUse]] = {}
        self.events = EventBus()
        self.left_of_pulls = 0
        self.service = ImageService(
            self.store, self.events, lambda image_id: self.uses.get(image_id, []), lambda: self.left_of_pulls
        )

    def use(self, image: Image, *, running: bool) -> None:
        self.uses[image.id] = [ContainerUse(CONTAINER, running)]

    def remove(self, reference: str, **options: bool) -> list[dict[str, Any]]:
        return asyncio.run(self.service.remove(reference, **options))

    def published(self) -> list[tuple[str, str, str]]:
        async def read() -> list[tuple[str, str, str]]:
            events = self.events.subscribe(since="1", until="0s")
            return [(e["Action"], e["id"], e["Actor"]["Attributes"].get("name", "")) async for e in events]

        return asyncio.run(read())


@pytest.fixture
def bench(place: Any) -> Bench:
    return Bench(place)


# -- showing


def names(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(tag for row in rows for tag in row["RepoTags"])


def kept(bench: Bench, image: Image) -> int:
    """The bytes of the archive that the image's layer came in."""
    blob = bench.store.blob_of(image.config.rootfs.diff_ids[0])
    return bench.store.content.size(blob.digest)


def test_list_row(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1", changes=["LABEL a=b"])
    row = next(row for row in bench.service.list() if row["Id"] == image.id)
    assert row == {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": ["app:1"],
        "RepoDigests": [],
        "Created": int(image.created),
        "Size": 1 + kept(bench, image),
        "Labels": {"a": "b"},
        "SharedSize": -1,
        "Containers": -1,
    }


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["a:1", "b:1", "host:latest"]),
        ({"reference": ["[ab]"]}, ["a:1", "b:1"]),
        ({"reference": ["a:*", "h*"]}, ["a:1", "host:latest"]),
        ({"label": ["k=a"]}, ["a:1"]),
        ({"label": ["k"], "label!": ["k=a"]}, ["b:1"]),
        ({"before": ["b:1"], "reference": ["[ab]"]}, ["a:1"]),
        ({"since": ["a:1"]}, ["b:1"]),
        ({"until": ["2001-01-01"], "reference": ["[ab]"]}, []),
        ({"dangling": ["false"], "reference": ["?"]}, ["a:1", "b:1"]),
    ],
)
def test_filters(bench: Bench, make_image: Make, filters: dict[str, list[str]], expected: list[str]) -> None:
    make_image("a:1", changes=["LABEL k=a"])
    make_image("b:1", changes=["LABEL k=b"])
    assert names(bench.service.list(filters=json.dumps(filters))) == expected


def test_dangling_images(bench: Bench, make_image: Make) -> None:
    image = make_image()
    make_image("named", content="y")
    assert [row["Id"] for row in bench.service.list(filters='{"dangling": {"true": true}}')] == [image.id]
    assert image.id not in [row["Id"] for row in bench.service.list(filters='{"dangling": ["false"]}')]


def test_intermediate_images_are_shown_on_demand(bench: Bench, make_image: Make, archives: Any) -> None:
    parent = make_image()
    with bench.store.adding():
        bench.store.add(archives.config(), parent=parent.id)
    assert parent.id not in [row["Id"] for row in bench.service.list()]
    assert parent.id in [row["Id"] for row in bench.service.list(all=True)]


def test_sizes_and_containers_on_demand(bench: Bench, make_image: Make) -> None:
    image = make_image("a", content="12345")
    make_image("b", content="12345", changes=["ENV x=1"])
    bench.use(image, running=True)
    rows = {row["Id"]: row for row in bench.service.list(shared_size=True, containers=True)}
    size = 5 + kept(bench, image)
    assert (rows[image.id]["Size"], rows[image.id]["SharedSize"], rows[image.id]["Containers"]) == (size, size, 1)
    assert bench.service.layers_size() == size


def test_sizes_are_those_on_the_disk(bench: Bench, place: Any, make_image: Make) -> None:
    first = make_image("a", content="12345")
    make_image("b", content="12345", changes=["ENV x=1"])
    make_image("c", content="123")
    place.store.content.partial.mkdir(exist_ok=True)
    (place.store.content.partial / "left").write_bytes(b"1234567")
    on_disk = dict.fromkeys(("content", "overlay"), 0)
    for name in on_disk:
        on_disk[name] = sum(path.stat().st_size for path in (place.root / name).rglob("*") if path.is_file())
    rows = bench.service.list(shared_size=True)
    unique = sum(row["Size"] - row["SharedSize"] for row in rows)
    assert on_disk["overlay"] == 8
    assert unique + 5 + kept(bench, first) + 7 == bench.service.layers_size() == sum(on_disk.values())


@pytest.mark.parametrize(
    ("filters", "error", "words"),
    [
        ('{"foo": ["x"]}', InvalidParameter, "invalid filter 'foo'"),
        ('{"dangling": ["maybe"]}', InvalidParameter, "invalid filter 'dangling=[maybe]'"),
        ('{"before": ["none"]}', NotFound, "No such image: none:latest"),
        ('{"reference": ["["]}', InvalidParameter, "syntax error in pattern"),
    ],
)
def test_bad_filters(bench: Bench, filters: str, error: type[KnarrError], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        bench.service.list(filters=filters)


def test_inspect(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1", changes=["CMD x", "EXPOSE 80"])
    details = bench.service.inspect("app:1")
    assert details["Id"] == image.id
    assert details["Config"] == {"Cmd": ["/bin/sh", "-c", "x"], "ExposedPorts": {"80/tcp": {}}}
    assert details["RootFS"] == {"Type": "layers", "Layers": image.config.rootfs.diff_ids}
    assert details["Comment"] == "made for a test"
    assert details["Metadata"]["LastTagTime"] == image.last_tagged
    assert "Variant" not in details


def test_history(bench: Bench, make_image: Make, archives: Any) -> None:
    parent = make_image("base", content="12345")
    steps = [
        {"created": "2024-01-01T00:00:00Z", "created_by": "older"},
        {"created": "2024-01-02T00:00:00Z", "created_by": "ENV", "comment": "c", "empty_layer": True},
    ]
    document = archives.config(history=steps, rootfs={"diff_ids": parent.config.rootfs.diff_ids})
    with bench.store.adding():
        image = bench.store.add(document, parent=parent.id)
    newest, oldest = bench.service.history(image.id)
    assert newest == {
        "Id": image.id,
        "Created": 1704153600,
        "CreatedBy": "ENV",
        "Tags": None,
        "Size": 0,
        "Comment": "c",
    }
    assert (oldest["Id"], oldest["Tags"], oldest["Size"]) == (parent.id, ["base:latest"], 5)


def test_history_of_an_image_from_elsewhere(bench: Bench, archives: Any) -> None:
    with bench.store.adding():
        image = bench.store.add(archives.config(history=[{"empty_layer": True}, {"empty_layer": True}]))
    assert [row["Id"] for row in bench.service.history(image.id)] == [image.id, "<missing>"]


# -- adding


def test_tag(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1", changes=["LABEL a=b"])
    asyncio.run(bench.service.tag("app:1", "app:x", "2"))
    assert bench.store.get(image.id).repo_tags == ["app:1", "app:2"]
    assert bench.published() == [("tag", image.id, "app:2")]


@pytest.mark.parametrize(
    ("reference", "repository", "error"),
    [("none", "x", NotFound), ("host", "BAD", InvalidParameter), ("host", "", InvalidParameter)],
)
def test_tag_refuses(bench: Bench, reference: str, repository: str, error: type[KnarrError]) -> None:
    with pytest.raises(error):
        asyncio.run(bench.service.tag(reference, repository, ""))
    assert bench.published() == []


def run_load(bench: Bench, archive: bytes, **options: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    asyncio.run(bench.service.load(io.BytesIO(archive), messages.append, **options))
    return messages


def test_load_in_dockerds_words(bench: Bench, archives: Any) -> None:
    (message,) = run_load(bench, archives.docker(archives.tar({"a": b""}), tags=["app:1"]), quiet=True)
    assert message == {"stream": "Loaded image: app:1\n"}
    image = bench.service.resolve("app:1")
    other = run_load(bench, archives.docker(archives.tar({"b": b""}), tags=["app:1"]))
    assert {
        "stream": f"The image app:1 already exists, renaming the old one with ID {image.id} to empty string\n"
    } in other
    assert bench.published()[0] == ("load", image.id, image.id)


def test_load_without_a_name(bench: Bench, archives: Any) -> None:
    document = archives.config()
    messages = run_load(bench, archives.docker(tags=[], config=document))
    assert messages == [{"stream": f"Loaded image ID: {archives.digest(document)}\n"}]


def test_import(bench: Bench, archives: Any) -> None:
    messages: list[dict[str, Any]] = []
    archive = io.BytesIO(archives.tar({"a": b""}))
    asyncio.run(bench.service.import_("-", archive, messages.append, repository="app", changes=["ENV x=1"]))
    image = bench.service.resolve("app")
    assert messages == [{"status": image.id}]
    assert image.config.comment == "Imported from -"
    assert bench.published() == [("tag", image.id, "app:latest"), ("import", image.id, image.id)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repository": f"a@sha256:{'0' * 64}"}, "cannot import digest reference"),
        ({"repository": "BAD"}, "must be lowercase"),
        ({"platform": "windows"}, "operating system is not supported"),
        ({"platform": "a/b/c/d"}, "cannot parse platform specifier"),
        ({"changes": ["RUN x"]}, "run is not a valid change command"),
        ({"source": "ftp://x/y"}, "unsupported protocol scheme"),
    ],
)
def test_import_refuses(bench: Bench, options: dict[str, Any], words: str) -> None:
    source = options.pop("source", "-") if "source" in options else "-"
    with pytest.raises(InvalidParameter, match=words):
        asyncio.run(bench.service.import_(source, io.BytesIO(), lambda _: None, **options))


def test_stalled_uploads_do_not_hold_up_other_work(bench: Bench) -> None:
    async def scenario() -> list[object]:
        pipes = [os.pipe() for _ in range(40)]
        archives = [os.fdopen(reader, "rb", buffering=0) for reader, _ in pipes]
        loads = [asyncio.create_task(bench.service.load(archive, lambda _: None)) for archive in archives]
        await asyncio.wait_for(asyncio.to_thread(int), 10)
        for _, writer in pipes:
            os.close(writer)
        results: list[object] = await asyncio.gather(*loads, return_exceptions=True)
        for archive in archives:
            archive.close()
        return results

    assert all(isinstance(result, InvalidParameter) for result in asyncio.run(scenario()))


# -- removing


def test_one_of_several_names_is_only_untagged(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1")
    bench.store.tag(image.id, parse("app:2"))
    bench.use(image, running=True)
    assert bench.remove("app:1") == [{"Untagged": "app:1"}]
    assert bench.published() == [("untag", image.id, image.id)]


def test_the_last_name_takes_the_image_along(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1")
    assert bench.remove("app:1") == [{"Untagged": "app:1"}, {"Deleted": image.id}, {"Deleted": image.chain_id}]
    assert bench.published() == [("untag", image.id, image.id), ("delete", image.id, image.id)]


def test_by_id_with_one_name(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1")
    assert bench.remove(image.id[7:19])[:2] == [{"Untagged": "app:1"}, {"Deleted": image.id}]


def test_digests_go_with_the_last_tag(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1")
    digest = f"app@sha256:{'1' * 64}"
    bench.store.tag(image.id, parse(digest))
    assert bench.remove("app:1")[:3] == [{"Untagged": "app:1"}, {"Untagged": digest}, {"Deleted": image.id}]


def refused(bench: Bench, reference: str, words: str, **options: bool) -> None:
    with pytest.raises(Conflict, match=f"^{re.escape(words)}$"):
        bench.remove(reference, **options)


def test_by_id_with_several_names(bench: Bench, make_image: Make) -> None:
    image = make_image("app:1")
    bench.store.tag(image.id, parse("app:2"))
    short = image.id[7:19]
    refused(
        bench,
        short,
        f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories",
    )
    assert bench.remove(short, force=True)[:3] == [{"Untagged": "app:1"}, {"Untagged": "app:2"}, {"Deleted": image.id}]


def test_used_by_a_stopped_container(bench: Bench, make_image: Make) -> None:
    image = make_image("app")
    bench.use(image, running=False)
    short, container = image.id[7:19], CONTAINER[:12]
    refused(
        bench,
        "app",
        'conflict: unable to remove repository reference "app" (must force) - '
        f"container {container} is using its referenced image {short}",
    )
    refused(
        bench,
        image.id,
        f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container {container}",
    )
    assert {"Deleted": image.id} in bench.remove(image.id, force=True)


def test_used_by_a_running_container(bench: Bench, make_image: Make) -> None:
    image = make_image("app")
    bench.use(image, running=True)
    words = (
        f"conflict: unable to delete {image.id[7:19]} (cannot be forced) - "
        f"image is being used by running container {CONTAINER[:12]}"
    )
    refused(bench, image.id, words, force=True)
    assert bench.remove("app", force=True) == [{"Untagged": "app:latest"}]
    refused(bench, image.id, words, force=True)


def test_parents_follow_their_children(bench: Bench, make_image: Make, archives: Any) -> None:
    parent = make_image("base")
    with bench.store.adding():
        child = bench.store.add(archives.config(), parent=parent.id)
    bench.store.tag(child.id, parse("app"))
    words = f"conflict: unable to delete {parent.id[7:19]} (cannot be forced) - image has dependent child images"
    refused(bench, parent.id, words, force=True)
    assert bench.remove("base") == [{"Untagged": "base:latest"}]
    assert [*map(str, bench.remove("app"))][1:3] == [str({"Deleted": child.id}), str({"Deleted": parent.id})]


def test_parents_stay_on_demand(bench: Bench, make_image: Make, archives: Any) -> None:
    parent = make_image()
    with bench.store.adding():
        child = bench.store.add(archives.config(), parent=parent.id)
    assert bench.remove(child.id, prune=False) == [{"Deleted": child.id}]
    assert bench.store.has(parent.id)


def test_the_built_in_image_stays(bench: Bench) -> None:
    for reference in ("host", bench.service.resolve("host").id):
        with pytest.raises(Conflict, match="cannot be forced"):
            bench.remove(reference, force=True)


def test_missing_images(bench: Bench) -> None:
    with pytest.raises(NotFound, match="No such image: none:latest"):
        bench.remove("none")


def test_prune_takes_dangling_images(bench: Bench, make_image: Make) -> None:
    dangling, named = make_image(content="12345"), make_image("app", content="y")
    size = 5 + kept(bench, dangling)
    pruned = asyncio.run(bench.service.prune())
    rows = [{"Deleted": dangling.id}, {"Deleted": dangling.chain_id}]
    assert pruned == {"ImagesDeleted": rows, "SpaceReclaimed": size}
    assert bench.store.has(named.id)


def test_prune_takes_what_pulls_have_left(bench: Bench) -> None:
    bench.left_of_pulls = 7
    assert asyncio.run(bench.service.prune())["SpaceReclaimed"] == 7
    assert asyncio.run(bench.service.prune('{"label": ["k"]}'))["SpaceReclaimed"] == 0


def test_prune_takes_all_that_no_container_uses(bench: Bench, make_image: Make) -> None:
    used, unused = make_image("used"), make_image("unused", content="y", changes=["LABEL k=v"])
    bench.use(used, running=False)
    assert asyncio.run(bench.service.prune('{"dangling": ["false"], "label!": ["k"]}'))["ImagesDeleted"] == []
    rows = asyncio.run(bench.service.prune('{"dangling": ["false"]}'))["ImagesDeleted"]
    assert rows[:2] == [{"Untagged": "unused:latest"}, {"Deleted": unused.id}]
    assert bench.store.has(used.id)
    assert bench.service.resolve("host")
