"""The engine's figures for Prometheus."""

from __future__ import annotations

from engine_bench import EngineBench


def test_figures_follow_what_happens(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000")
    lines = bench.run(bench.engine.system.metrics()).splitlines()
    assert 'engine_daemon_container_states_containers{state="running"} 1' in lines
    assert 'engine_daemon_container_actions_seconds_count{action="start"} 1' in lines
    assert any(line.startswith("container_memory_usage_bytes{") and id in line for line in lines)
    assert not any(line.startswith("container_network_receive_bytes_total{") for line in lines)
