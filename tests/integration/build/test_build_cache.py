"""Docker's cache: instructions by their text, files by their content; and what is kept of it, and for how long."""

from __future__ import annotations

import asyncio
import io
import json
import random
from typing import Any

import pytest
from building import Built, build, context
from engine_bench import EngineBench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.build.options import BuildOptions
from knarr.engine.config import HostConfig
from knarr.images.references import parse

STAMP = "FROM busybox\nRUN head -c 8 /dev/urandom | od -x > /stamp\nCOPY a /a\nRUN cat /a > /b\n"


def hits(found: Built) -> int:
    return found.text.count("Using cache")


def prune(bench: EngineBench, filters: str | None = None, *, all: bool = True) -> dict[str, Any]:
    return bench.run(bench.engine.build_cache.prune(filters, all=all))


def test_nothing_is_done_twice(bench: EngineBench) -> None:
    first = build(bench, STAMP, {"a": "1"})
    again = build(bench, STAMP, {"a": "1"})
    assert (again.id, hits(again)) == (first.id, 3)


def test_changed_files_are_seen(bench: EngineBench) -> None:
    first = build(bench, STAMP, {"a": "one"})
    again = build(bench, STAMP, {"a": "two"})
    assert (again.read("stamp"), again.read("b"), hits(again)) == (first.read("stamp"), "two", 1)


def test_arguments_count_where_commands_see_them(bench: EngineBench) -> None:
    text = "FROM busybox\nARG X\nRUN echo $X > /x\n"
    build(bench, text, arguments={"X": "1"})
    again = build(bench, text, arguments={"X": "2"})
    assert (again.read("x"), hits(again)) == ("2\n", 1)


def test_similar_settings_are_told_apart(bench: EngineBench) -> None:
    build(bench, 'FROM busybox\nENV a="b c=d"\n')
    again = build(bench, "FROM busybox\nENV a=b c=d\n")
    assert (again.config.config.env[1:], hits(again)) == (["a=b", "c=d"], 0)


def test_no_cache(bench: EngineBench) -> None:
    first = build(bench, STAMP, {"a": "1"})
    again = build(bench, STAMP, {"a": "1"}, no_cache=True)
    assert (hits(again), again.read("stamp") == first.read("stamp")) == (0, False)
    assert build(bench, STAMP, {"a": "1"}).id == again.id


def test_the_cache_outlives_images_and_restarts(bench: EngineBench) -> None:
    first = build(bench, STAMP, {"a": "1"})
    bench.run(bench.engine.images.remove(first.id))
    bench.stop()
    bench.start()
    assert hits(build(bench, STAMP, {"a": "1"})) == 3


def test_pruning_frees_what_no_image_has(bench: EngineBench) -> None:
    prune(bench)
    layers = len(bench.layers.layers())
    found = build(bench, "FROM busybox\nRUN head -c 100000 /dev/zero > /z\nRUN touch /y\n", no_cache=True)
    usage = bench.run(bench.engine.system.disk_usage(["build-cache"]))
    assert [(row["Shared"], row["Size"]) for row in usage["BuildCache"]] == [(True, 100000), (True, 0)]
    assert prune(bench, all=False)["CachesDeleted"] == []
    bench.run(bench.engine.images.remove(found.id))
    assert len(bench.layers.layers()) == layers + 2
    report = prune(bench, all=False)
    assert (len(report["CachesDeleted"]), report["SpaceReclaimed"]) == (2, 100000)
    assert len(bench.layers.layers()) == layers


def test_pruning_what_is_old(bench: EngineBench) -> None:
    found = build(bench, "FROM busybox\nENV P=1\n", no_cache=True)
    assert prune(bench, json.dumps({"until": ["24h"]}))["CachesDeleted"] == []
    assert build(bench, "FROM busybox\nENV P=1\n").id == found.id


def test_steps_are_taken_over_from_another_image(bench: EngineBench) -> None:
    first = build(bench, STAMP, {"a": "1"}, no_cache=True, tags=[parse("source:latest")])
    prune(bench)
    again = build(bench, STAMP, {"a": "1"}, cache_from=["source"])
    assert (again.read("stamp"), hits(again)) == (first.read("stamp"), 3)
    prune(bench)
    changed = build(bench, STAMP, {"a": "2"}, cache_from=["source", "nosuchimage"])
    assert (changed.read("stamp"), changed.read("b"), hits(changed)) == (first.read("stamp"), "2", 1)


def test_what_a_build_makes_can_be_saved(bench: EngineBench) -> None:
    found = build(bench, STAMP + "WORKDIR /new\n", {"a": "1"})
    assert b"".join(bench.engine.images.save([found.id]))


def test_a_cancelled_build_leaves_nothing(bench: EngineBench) -> None:
    async def begin_and_cancel() -> None:
        running = asyncio.Event()

        def report(message: dict[str, Any]) -> None:
            if "up" in message.get("stream", "").split():
                running.set()

        archive = io.BytesIO(context({"Dockerfile": "FROM busybox\nRUN echo up; sleep 1000\n"}))
        host = HostConfig(network_mode="none")
        task = asyncio.create_task(bench.engine.builds.build(BuildOptions(no_cache=True), host, archive, report))
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    bench.run(begin_and_cancel())
    assert bench.layers.roots() == []
    assert not list((bench.settings.run_root / "containers").iterdir())


_STEPS = st.sampled_from(
    (
        "COPY a /c",
        "COPY d /d/",
        "COPY . /all/",
        "ENV A=1",
        "ENV B=$A",
        "WORKDIR w",
        "COPY --chown=3:4 a x",
        "ADD d/b .",
        "RUN cat /c > /e 2>/dev/null || touch /e",
        "RUN rm -rf /d",
        "RUN echo $A$B > f",
        "RUN chmod 700 . && mkdir -p deep/er",
    )
)
_CONTENTS = st.dictionaries(st.sampled_from(("a", "d/b", "d/e/c", "g")), st.sampled_from(("1", "22", "")), min_size=4)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_STEPS, min_size=1, max_size=5), _CONTENTS, _CONTENTS, st.randoms(use_true_random=False))
def test_a_cached_result_is_the_uncached_one(
    bench: EngineBench, steps: list[str], before: dict[str, str], after: dict[str, str], chance: random.Random
) -> None:
    edited = [step for step in steps if chance.random() < 0.8] or steps
    build(bench, "\n".join(["FROM busybox", *steps]), before)
    text = "\n".join(["FROM busybox", *edited])
    cached, anew = build(bench, text, after), build(bench, text, after, no_cache=True)
    assert cached.names() == anew.names()
    assert cached.config.config == anew.config.config
    for name in cached.names():
        assert cached.owner(name) == anew.owner(name)
        if cached.stat(name).st_mode & 0o100000:
            assert cached.read(name) == anew.read(name)
