"""daemon.json and the command line: merging, checks and dockerd's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from knarr.build.policies import Policy
from knarr.daemon import config
from knarr.daemon.command_line import parse
from knarr.daemon.config import DaemonConfig
from knarr.daemon.options import OPTIONS, UNSUPPORTED
from knarr.errors import InvalidParameter, KnarrError, Unsupported


def load(tmp_path: Path, *flags: str, **file: object) -> DaemonConfig:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({key.replace("_", "-"): value for key, value in file.items()}))
    return config.load(parse(["--config-file", str(path), *flags]))


def refusal(tmp_path: Path, *flags: str, **file: object) -> str:
    with pytest.raises(KnarrError) as caught:
        load(tmp_path, *flags, **file)
    return str(caught.value)


def test_every_option_is_a_field() -> None:
    fields = {field.encode_name for field in structs.fields(DaemonConfig)}
    assert {option.name for option in OPTIONS} == fields - {"build-cache-policies"}  # builder.gc
    assert not fields & UNSUPPORTED.keys()


def test_file_and_flags_are_merged(tmp_path: Path) -> None:
    loaded = load(tmp_path, "--bip", "10.9.0.1/24", "-H", "unix:///a", "-H", "unix:///b", mtu=1400, dns=["1.1.1.1"])
    assert (loaded.bip, loaded.hosts, loaded.mtu, loaded.dns) == (
        "10.9.0.1/24",
        ["unix:///a", "unix:///b"],
        1400,
        ["1.1.1.1"],
    )


def test_switches_take_an_optional_value(tmp_path: Path) -> None:
    loaded = load(tmp_path, "--debug", "--live-restore=false", "--init=1")
    assert (loaded.debug, loaded.live_restore, loaded.init) == (True, False, True)


@pytest.mark.parametrize(
    ("builder", "granted"),
    [
        ({}, ["network.host"]),
        ({"entitlements": {"security-insecure": True}}, ["network.host", "security.insecure"]),
        ({"entitlements": {"network-host": False}}, []),
    ],
)
def test_what_builds_may_be_entitled(tmp_path: Path, builder: dict[str, object], granted: list[str]) -> None:
    assert load(tmp_path, builder=builder).build_entitlements == granted


def test_entitlements_that_there_are_not(tmp_path: Path) -> None:
    assert "builder: knarr does not have this option" in refusal(tmp_path, builder={"entitlements": {"device": True}})
    assert "unknown entitlement device" in refusal(tmp_path, "--build-entitlement", "device")


@pytest.mark.parametrize(
    ("gc", "policies"),
    [
        ({"enabled": False}, []),
        ({"defaultKeepStorage": "1m"}, [Policy(all=True, reserved=1 << 20)]),
        ({"defaultMaxUsedSpace": "2k", "defaultMinFreeSpace": 7}, [Policy(all=True, most=2048, free=7)]),
        (
            {"policy": [{"keepStorage": "1k", "filter": ["unused-for=48h", "type=regular"]}, {"all": True}]},
            [Policy(reserved=1024, filters={"unused-for": ["48h"], "type": ["regular"]}), Policy(all=True)],
        ),
    ],
)
def test_what_builds_may_keep(tmp_path: Path, gc: dict[str, object], policies: list[Policy]) -> None:
    assert load(tmp_path, builder={"gc": gc}).cache_policies == policies


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"keepStorage": "much"}, "invalid size: 'much'"),
        ({"keepStorage": [1]}, "keepStorage: sizes are needed"),
        ({"filter": "x"}, 'a list of "name=value" is needed'),
        ({"filter": ["color=red"]}, "invalid filter 'color'"),
        ({"age": "1h"}, "unknown: age"),
        (1, "a list of rules is needed"),
    ],
)
def test_policies_that_make_no_sense(tmp_path: Path, rule: object, words: str) -> None:
    assert words in refusal(tmp_path, builder={"gc": {"policy": [rule]}})


def test_unknown_keys_are_all_named(tmp_path: Path) -> None:
    assert "the following directives don't match any configuration option: nosuch, other" in refusal(
        tmp_path, nosuch=1, other=2
    )


def test_the_same_option_in_file_and_flags(tmp_path: Path) -> None:
    words = refusal(tmp_path, "-H", "unix:///a", "--debug", hosts=["unix:///b"], debug=False)
    assert "the following directives are specified both as a flag and in the configuration file: " in words
    assert "hosts: (from flag: [unix:///a], from file: [unix:///b])" in words
    assert "debug: (from flag: true, from file: false)" in words


def test_what_knarr_lacks_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="cdi-spec-dirs: knarr does not have this option"):
        load(tmp_path, cdi_spec_dirs=["/etc/cdi"])


@pytest.mark.parametrize("name", ["iptables", "ip6tables"])
def test_firewall_rules_cannot_be_left_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unsupported, match=f"{name}: knarr does not have this option"):
        load(tmp_path, **{name: False})


def test_what_knarr_lacks_may_be_switched_off(tmp_path: Path) -> None:
    load(tmp_path, raw_logs=False, selinux_enabled=False, features={})


def test_buildkit_is_there_whether_it_is_asked_for_or_not(tmp_path: Path) -> None:
    load(tmp_path, features={"buildkit": True})


def test_a_wrong_type_is_named(tmp_path: Path) -> None:
    assert "Expected `bool`, got `str` - at `debug`" in refusal(tmp_path, debug="yes")


def test_null_is_as_absent(tmp_path: Path) -> None:
    assert load(tmp_path, mtu=None).mtu == 1500


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InvalidParameter, match="unable to configure"):
        config.load(parse(["--config-file", str(tmp_path / "bad.json")]))


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="no such file or directory"):
        config.load(parse(["--config-file", str(tmp_path / "none.json")]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"log_level": "noisy"}, "invalid logging level: noisy"),
        ({"default_runtime": "zz"}, "specified default runtime 'zz' does not exist"),
        ({"bridge": "none"}, "an engine without its default bridge is not supported"),
        ({"bridge": "a/b"}, "invalid interface name: a/b"),
        ({"dns": ["x"]}, "x is not an ip address"),
        ({"labels": ["x"]}, "bad attribute format: x"),
        ({"labels": ["a=b", "a=c"]}, "conflict labels for a=c and a=b"),
        ({"bip": "10.0.0.1"}, "invalid CIDR address: 10.0.0.1"),
        ({"mtu": -1}, "invalid default MTU: -1"),
        ({"default_ipc_mode": "host"}, 'IPC mode "host" is not supported as default value'),
        ({"default_shm_size": "much"}, "default-shm-size: invalid size: 'much'"),
        ({"default_address_pools": [{"base": "x", "size": 3}]}, "invalid CIDR address: x"),
        ({"max_concurrent_downloads": 0}, "invalid max concurrent downloads: 0"),
        ({"registry_mirrors": ["mirror.example"]}, 'invalid mirror: "mirror.example" is not a http or https address'),
        ({"registry_mirrors": ["https://m.example/?a"]}, "path, query, or fragment at end of the URI"),
        ({"insecure_registries": ["http://a"]}, "insecure registry http://a should not contain '://'"),
        ({"insecure_registries": ["10.0.0.0/99"]}, "invalid CIDR address: 10.0.0.0/99"),
        ({"proxies": {"ftp-proxy": "x"}}, "proxies"),
    ],
)
def test_senseless_values(tmp_path: Path, settings: dict[str, object], words: str) -> None:
    assert words in refusal(tmp_path, **settings)


def test_proxies_stand_together_in_the_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, proxies={"https-proxy": "http://p.example:3128", "no-proxy": "a.example"})
    assert (loaded.http_proxy, loaded.https_proxy, loaded.no_proxy) == ("", "http://p.example:3128", "a.example")


def test_relative_paths_are_those_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path, "--data-root", "here").data_root == str(tmp_path / "here")


def test_shutdown_containers_turns_live_restore_off(tmp_path: Path) -> None:
    assert load(tmp_path).live_restore
    assert not load(tmp_path, "--shutdown-containers").live_restore
    assert "contradict" in refusal(tmp_path, "--shutdown-containers", "--live-restore")


def test_reload_takes_only_what_can_change(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"labels": ["a=b"], "mtu": 1500}')
    invocation = parse(["--config-file", str(path)])
    loaded = config.load(invocation)
    path.write_text('{"labels": ["a=c"], "mtu": 9000, "debug": true}')
    assert config.reload(invocation, loaded) == ["debug", "labels"]
    assert (loaded.labels, loaded.mtu, loaded.debug) == (["a=c"], 1500, True)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--nosuch=1", "unknown flag: --nosuch"),
        ("--raw-logs=true", "knarr does not have the option --raw-logs"),
        ("extra", '"knarrd" accepts no arguments.'),
        ("--mtu=x", "argument --mtu: invalid number 'x'"),
        ("--debug=x", "argument -D/--debug: invalid boolean value 'x'"),
    ],
)
def test_wrong_usage_ends_with_125(argument: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([argument])
    assert caught.value.code == 125
    assert capsys.readouterr().err == f"{words}\nSee 'knarrd --help'.\n"
