"""Options of log drivers."""

from __future__ import annotations

from pathlib import Path

import pytest
from containers import record

from knarr.compute.interface import LogSettings
from knarr.engine import log_settings
from knarr.engine.config import LogConfig
from knarr.errors import InvalidParameter

PATH = Path("/log")


def settings(config: LogConfig) -> LogSettings:
    wanted = record(
        config={"labels": {"a": "1", "b": "2"}, "env": ["A=x", "B=y", "C"]}, host_config={"log_config": config}
    )
    return log_settings.settings(wanted, PATH)


def test_defaults() -> None:
    assert settings(LogConfig(type="json-file")) == LogSettings(path="/log")


def test_rotation() -> None:
    wanted = settings(LogConfig(type="json-file", config={"max-size": "20k", "max-file": "3", "compress": "true"}))
    assert (wanted.max_size, wanted.max_file, wanted.compress) == (20 << 10, 3, True)


def test_attributes() -> None:
    options = {"labels": "a,x", "env-regex": "^B", "tag": "{{.Name}}-{{.ID}}"}
    assert settings(LogConfig(type="json-file", config=options)).attrs == {
        "a": "1",
        "B": "y",
        "tag": "one-ab1111111111",
    }


def test_a_buffer() -> None:
    assert settings(LogConfig(type="json-file", config={"mode": "blocking"})).buffer == 0
    assert settings(LogConfig(type="json-file", config={"mode": "non-blocking"})).buffer == 1 << 20
    wanted = LogConfig(type="local", config={"mode": "non-blocking", "max-buffer-size": "64k"})
    assert settings(wanted).buffer == 64 << 10


def test_none() -> None:
    assert settings(LogConfig(type="none")).driver == "none"


@pytest.mark.parametrize(
    ("type", "options"),
    [
        ("syslog", {"max-size": "1m"}),
        ("json-file", {"nonsense": "1"}),
        ("json-file", {"max-size": "x"}),
        ("json-file", {"max-size": "0"}),
        ("json-file", {"max-file": "0", "max-size": "1m"}),
        ("json-file", {"compress": "true"}),
        ("json-file", {"compress": "maybe"}),
        ("json-file", {"labels-regex": "("}),
        ("json-file", {"mode": "sometimes"}),
        ("json-file", {"max-buffer-size": "1m"}),
        ("json-file", {"mode": "non-blocking", "max-buffer-size": "x"}),
        ("none", {"max-size": "1m"}),
    ],
)
def test_refused(type: str, options: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter):
        log_settings.check(LogConfig(type=type, config=options))
