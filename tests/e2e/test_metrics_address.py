"""The address at which Prometheus finds an engine's figures."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from harness import Daemon
from prometheus_client import parser

_OF_CONTAINERS = {
    *("container_cpu_usage_seconds", "container_memory_usage_bytes", "container_memory_working_set_bytes"),
    *("container_memory_rss", "container_memory_cache", "container_network_receive_bytes"),
    *("container_network_transmit_bytes", "container_fs_reads_bytes", "container_fs_writes_bytes"),
    *("container_last_seen", "container_start_time_seconds", "container_spec_memory_limit_bytes"),
}
_OF_ENGINES = {
    *("engine_daemon_container_actions_seconds", "engine_daemon_container_states_containers"),
    *("engine_daemon_engine_info", "engine_daemon_engine_cpus_cpus", "engine_daemon_engine_memory_bytes"),
    *("engine_daemon_events", "engine_daemon_events_subscribers_total", "engine_daemon_health_checks"),
    *("engine_daemon_health_checks_failed", "machine_cpu_cores", "machine_memory_bytes"),
}


def test_prometheus_reads_what_dashboards_show(new_daemon: Callable[..., Daemon], busybox_archive: bytes) -> None:
    """Counters have no _total here: the parser takes it away."""
    daemon = new_daemon("--metrics-addr", "127.0.0.1:0")
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    match = re.search(r"metrics API listening on tcp://(\S+)", daemon.log)
    assert match
    with urllib.request.urlopen(f"http://{match[1]}/metrics") as answer:
        families = {family.name: family for family in parser.text_string_to_metric_families(answer.read().decode())}
    assert set(families) >= _OF_CONTAINERS | _OF_ENGINES
    for name in _OF_CONTAINERS:
        assert [sample.labels["name"] for sample in families[name].samples] == ["box"], name
        assert families[name].samples[0].labels["image"] == "busybox"
    assert families["container_memory_usage_bytes"].samples[0].value > 0


def test_metrics_and_nothing_else_are_served(new_daemon: Callable[..., Daemon]) -> None:
    daemon = new_daemon("--metrics-addr", "127.0.0.1:0")
    daemon.start()
    match = re.search(r"metrics API listening on tcp://(\S+)", daemon.log)
    assert match
    with urllib.request.urlopen(f"http://{match[1]}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"engine_daemon_engine_info{" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{match[1]}/containers/json")
