"""Containers from create to remove."""

from __future__ import annotations

from engine_bench import EngineBench, unframed


def test_run_to_the_end(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo out; echo err >&2; exit 3")
    assert bench.wait(id) == 3
    assert unframed(bench.logs(id)) == (b"out\n", b"err\n")
    assert bench.state(id)["Status"] == "exited"
