"""Options of the log drivers that send output elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from containers import record

from knarr.compute.interface import JournalSettings, LogSettings, SyslogSettings
from knarr.engine import log_settings
from knarr.engine.config import LogConfig
from knarr.errors import InvalidParameter


def settings(type: str, **options: str) -> LogSettings:
    config = LogConfig(type=type, config={name.replace("_", "-"): value for name, value in options.items()})
    log_settings.check(config)
    wanted = record(
        config={"labels": {"com.a-b": "1"}, "env": ["_A=x"], "cmd": ["sh", "-c"]}, host_config={"log_config": config}
    )
    return log_settings.settings(wanted, Path("/log"))


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("", ("", "", 0)),
        ("udp://host", ("udp", "host", 514)),
        ("tcp://127.0.0.1:99", ("tcp", "127.0.0.1", 99)),
        ("tcp+tls://[::1]:6514", ("tcp+tls", "::1", 6514)),
        ("unix:///dev/log", ("unix", "/dev/log", 0)),
        ("unixgram:///dev/log", ("unixgram", "/dev/log", 0)),
    ],
)
def test_addresses(address: str, found: tuple[str, str, int]) -> None:
    sink = settings("syslog", syslog_address=address).sink
    assert isinstance(sink, SyslogSettings)
    assert (sink.network, sink.address, sink.port) == found


def test_syslog_options() -> None:
    sink = settings("syslog", syslog_facility="local7", syslog_format="rfc5424", tag="{{.Name}}/{{.ID}}").sink
    assert sink == SyslogSettings(format="rfc5424", facility=23, tag="one/ab1111111111")


def test_the_tag_is_the_id_by_default_and_may_be_any_template() -> None:
    assert settings("syslog").sink == SyslogSettings(tag="ab1111111111")
    tag = '{{if .ContainerLabels}}{{index .ContainerLabels "com.a-b"}}{{end}}-{{(.ExtraAttributes nil)._A}}'
    assert settings("syslog", env="_A", tag=tag).sink == SyslogSettings(tag="1-x")


def test_fields_of_the_journal() -> None:
    sink = settings("journald", labels="com.a-b", env="_A").sink
    assert isinstance(sink, JournalSettings)
    assert sink.fields == {
        "COM_A_B": "1",
        "A": "x",
        "CONTAINER_ID": "ab1111111111",
        "CONTAINER_ID_FULL": "ab" + "1" * 62,
        "CONTAINER_NAME": "one",
        "CONTAINER_TAG": "ab1111111111",
        "IMAGE_NAME": "busybox",
        "SYSLOG_IDENTIFIER": "ab1111111111",
    }


def test_the_log_is_kept_besides_in_a_cache() -> None:
    wanted = settings("journald", cache_max_size="1k")
    assert (wanted.driver, wanted.max_size, wanted.max_file, wanted.compress) == ("json-file", 1024, 5, True)
    assert settings("journald", cache_disabled="true").driver == "none"
    assert not log_settings.readable(LogConfig(type="journald", config={"cache-disabled": "true"}))


@pytest.mark.parametrize(
    ("type", "options", "words"),
    [
        ("syslog", {"syslog-address": "foo"}, "syslog-address should be in form proto://address, got foo"),
        ("syslog", {"syslog-address": "http://x"}, "syslog-address should be in form proto://address, got http://x"),
        ("syslog", {"syslog-facility": "nope"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "nope"}, "Invalid syslog format"),
        ("syslog", {"bad": "1"}, "unknown log opt 'bad' for syslog log driver"),
        ("syslog", {"cache-disabled": "maybe"}, "invalid value for option cache-disabled: maybe"),
        ("syslog", {"tag": "{{.Nope}}"}, "failed to initialize logging driver: "),
        ("syslog", {"tag": "{{"}, "failed to initialize logging driver: "),
        ("journald", {"syslog-facility": "kern"}, "unknown log opt 'syslog-facility' for journald log driver"),
    ],
)
def test_refused(type: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidParameter, match="^" + words):
        _check(LogConfig(type=type, config=options))


def _check(config: LogConfig) -> None:
    log_settings.check(config)
    log_settings.check_tag(record(host_config={"log_config": config}))


def test_certificates_must_be_there() -> None:
    with pytest.raises(InvalidParameter, match=r"could not read syslog-tls-ca-cert: open /nope: no such file"):
        settings("syslog", syslog_address="tcp+tls://x", syslog_tls_ca_cert="/nope")
