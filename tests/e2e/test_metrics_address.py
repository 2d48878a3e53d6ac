"""The address at which Prometheus finds an engine's figures."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from harness import Daemon


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
