"""What containers use, as the engine tells it."""

from __future__ import annotations

from typing import Any

from engine_bench import EngineBench

from knarr.engine.config import HostConfig

_LIMIT = 64 << 20


async def _take(bench: EngineBench, id: str, count: int) -> list[dict[str, Any]]:
    stream = bench.engine.containers.stats_stream(id)
    samples = [await anext(stream) for _ in range(count)]
    await stream.aclose()
    return samples


def test_a_running_container(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000", host=HostConfig(network_mode="none", memory=_LIMIT))
    stats = bench.run(bench.engine.containers.stats(id, one_shot=True))
    assert stats["memory_stats"]["limit"] == _LIMIT
    assert 0 < stats["memory_stats"]["usage"] < _LIMIT
    assert stats["pids_stats"]["current"] == 1
    assert 0 < stats["cpu_stats"]["cpu_usage"]["total_usage"] < stats["cpu_stats"]["system_cpu_usage"]
    assert "networks" not in stats


def test_a_network_of_its_own(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000", host=HostConfig())
    stats = bench.run(bench.engine.containers.stats(id, one_shot=True))
    assert set(stats["networks"]) == {"eth0"}


def test_each_sample_has_the_processor_time_of_the_one_before(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000")
    first, second = bench.run(_take(bench, id, 2))
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["preread"] == first["read"] < second["read"]


def test_a_container_that_does_not_run(bench: EngineBench) -> None:
    id = bench.create("true")
    stats = bench.run(bench.engine.containers.stats(id))
    assert (stats["id"], stats["memory_stats"], stats["read"]) == (id, {}, "0001-01-01T00:00:00Z")


def test_the_stream_ends_with_the_container(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000")

    async def watch() -> int:
        seen = 0
        async for _ in bench.engine.containers.stats_stream(id):
            seen += 1
            if seen == 1:
                await bench.engine.containers.remove(id, force=True)
        return seen

    assert bench.run(watch()) == 1
